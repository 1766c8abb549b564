"""The recipe: a digest of everything that affects a tile's bytes. Cache keys contain it, so they never go stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Final

import rasterio

from sr_model import Restorer
from sr_model.colour_map import MAP_VERSION
from tileserver.photo.source import Source
from tileserver.photo.warp import PART_PX, WARP_KERNEL, WARP_TOLERANCE_PX
from tileserver.render import colours, finish
from tileserver.render.appearance import Appearance
from tileserver.render.renderer import MARGIN_PX
from tileserver.tiling import encode, grid
from tileserver.tiling.raster import NO_DIFFERENCE

# Increase it whenever a change of the code changes the bytes of a tile.
RECIPE_VERSION: Final = 5
# Libraries whose other versions may round pixels differently.
_LIBRARIES: Final = ("numpy", "openvino", "pillow", "rasterio", "rio-tiler", "scipy", "torch")


@dataclass(frozen=True)
class Recipe:
    """Everything that affects the pixels of a map.

    Attributes:
        weights: digest of the weights, which covers their spec with halo and stride.
        runtime: name of the runtime; runtimes round differently.
        sources: fingerprint, bands, rescale range of each photograph, and how else it is read.
        appearance: scale and colours of restored pixels.
    """

    weights: str
    runtime: str
    sources: tuple[tuple[str, tuple[int, ...], tuple[float, float], str], ...]
    appearance: Appearance

    @classmethod
    def of(cls, restorer: Restorer, sources: Iterable[Source], appearance: Appearance) -> Recipe:
        """Return the recipe of a map that shows these photographs."""
        described = tuple(
            (source.info.fingerprint, source.info.bands, source.info.rescale, source.info.reading)
            for source in sources
        )
        return cls(restorer.digest, restorer.runtime, described, appearance)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of these fields, of the constants that affect pixels, and of the library versions."""
        constants = {
            "version": RECIPE_VERSION,
            "metatile_px": grid.METATILE_PX,
            "levels": [grid.LEVELS_BELOW, grid.LEVELS_ABOVE],
            "warp": [WARP_KERNEL.name, WARP_TOLERANCE_PX, PART_PX],
            "no_difference": NO_DIFFERENCE,
            "margin_px": MARGIN_PX,
            "finish": [finish.BLOCK_PX, finish._SIGMA_BLOCKS, finish._REACH_BLOCKS, finish._PIVOT],
            "quality": [encode.JPEG_QUALITY, encode.WEBP_QUALITY, encode.WEBP_METHOD],
            "colour_map": MAP_VERSION,
            "tone": [colours.SAMPLES_PER_SIDE, colours.SAMPLE_PX],
            "gdal": rasterio.__gdal_version__,
            "libraries": {name: version(name) for name in _LIBRARIES},
        }
        text = json.dumps([asdict(self), constants], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
