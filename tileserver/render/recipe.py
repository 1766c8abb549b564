"""Keys that cannot go stale: everything that decides a tile's bytes is in its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Final

import rasterio

from sr_model import Restorer
from tileserver.photo.source import Source
from tileserver.photo.warp import PART_PX, WARP_KERNEL, WARP_TOLERANCE_PX
from tileserver.render import colours as tone
from tileserver.render import finish
from tileserver.render.finish import Finish
from tileserver.render.renderer import MARGIN_PX
from tileserver.tiling import encode, grid
from tileserver.tiling.raster import NO_DIFFERENCE

# Raise it when the code renders the same tile differently than before.
RECIPE_VERSION: Final = 3
# Other versions of these may round pixels differently.
_LIBRARIES: Final = ("numpy", "openvino", "pillow", "rasterio", "rio-tiler", "scipy", "torch")


@dataclass(frozen=True)
class Recipe:
    """What decides the pixels of a map.

    Attributes:
        weights: digest of the weights, which contain the spec with halo and stride.
        runtime: what runs them; another one rounds differently.
        sources: each photograph's fingerprint, bands and range.
        finish: what is done to restored pixels.
    """

    weights: str
    runtime: str
    sources: tuple[tuple[str, tuple[int, ...], tuple[float, float]], ...]
    finish: Finish

    @classmethod
    def of(cls, restorer: Restorer, sources: Iterable[Source], finish: Finish) -> Recipe:
        """That of a map which shows these photographs."""
        shown = tuple((one.info.fingerprint, one.info.bands, one.info.rescale) for one in sources)
        return cls(restorer.digest, restorer.runtime, shown, finish)

    @property
    def digest(self) -> str:
        """Hex digest of these fields, of the constants of the code and of the libraries that make pixels."""
        constants = {
            "version": RECIPE_VERSION,
            "metatile_px": grid.METATILE_PX,
            "levels": [grid.LEVELS_BELOW, grid.LEVELS_ABOVE],
            "warp": [WARP_KERNEL.name, WARP_TOLERANCE_PX, PART_PX],
            "no_difference": NO_DIFFERENCE,
            "margin_px": MARGIN_PX,
            "finish": [finish.BLOCK_PX, finish._SIGMA_BLOCKS, finish._REACH_BLOCKS, finish._PIVOT],
            "quality": [encode.JPEG_QUALITY, encode.WEBP_QUALITY, encode.WEBP_METHOD],
            "tone": [tone.SAMPLES_PER_SIDE, tone.SAMPLE_PX],
            "gdal": rasterio.__gdal_version__,
            "libraries": {name: version(name) for name in _LIBRARIES},
        }
        text = json.dumps([asdict(self), constants], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
