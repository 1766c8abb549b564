"""A tile server that restores an old orthophoto with a neural network and serves it as a basemap."""
