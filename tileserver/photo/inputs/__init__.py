"""From what a user names (a file, URL, folder, index or STAC item) to one raster that GDAL opens."""
