"""Pure arithmetic of tiles: addresses, windows, pixels and their encoding."""
