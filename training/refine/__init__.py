"""`orthosharp-train refine`: further training of a trained network by rules."""
