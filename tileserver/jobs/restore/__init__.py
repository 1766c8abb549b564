"""`orthosharp restore`: a photograph restored into a COG, or into chips with world files."""
