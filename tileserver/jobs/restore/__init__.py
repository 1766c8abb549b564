"""A whole photograph restored into a file: a COG, or images with world files."""
