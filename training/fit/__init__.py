"""`orthosharp-train fit`: a network learns from pairs."""
