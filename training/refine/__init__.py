"""`orthosharp-train refine`: what a trained network unlearns, and learns in addition."""
