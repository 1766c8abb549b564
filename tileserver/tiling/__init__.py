"""Tile arithmetic without files or networks: addresses, windows, pixel operations and encoding."""
