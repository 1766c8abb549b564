"""Where finished work is kept, always within a bound in bytes."""

from tileserver.cache.key import Recipe, TileKey
from tileserver.cache.memory_cache import MemoryCache

__all__ = ["MemoryCache", "Recipe", "TileKey"]
