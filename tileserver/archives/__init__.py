"""Tiles in one file, or in a folder of files: MBTiles 1.3, PMTiles 3, and `{z}/{x}/{y}.{ext}`."""
