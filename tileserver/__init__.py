"""The old photograph as a basemap: tiles, metatiles, caches and HTTP."""
