"""Sets of tiles in one file or in a folder: MBTiles 1.3, PMTiles 3, and `{z}/{x}/{y}.{ext}`."""
