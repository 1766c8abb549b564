"""`orthosharp-train site`: from two photographs to a network of one's own, in one run that goes on after a stop."""
