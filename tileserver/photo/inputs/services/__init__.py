"""Photographs behind web services: WMTS, WMS and XYZ templates, read politely and as one raster."""
