"""The recipe: a digest of everything that decides a tile's pixels. Cache keys contain it, so they never go stale.

The machine is not part of it. Runtimes, precisions and versions of libraries round differently, by less than can be
seen: hosts share tiles across them, so that a store may be filled by one and cleaned by another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import rasterio

from sr_model import ModelSpec
from sr_model.colour_map import MAP_VERSION
from tileserver.photo.source import Source
from tileserver.photo.warp import PART_PX, WARP_KERNEL, WARP_TOLERANCE_PX
from tileserver.render import colours, finish
from tileserver.render.appearance import Appearance
from tileserver.render.renderer import MARGIN_PX
from tileserver.settings import Settings
from tileserver.tiling import encode, grid
from tileserver.tiling.raster import DIFFERENCE_GAIN, NO_DIFFERENCE
from tileserver.tiling.xmp import ai_packet

# Increase it whenever a change of the code, or of a library, changes what a tile looks like.
RECIPE_VERSION: Final = 7
# Libraries whose other versions may round pixels differently.
_LIBRARIES: Final = ("numba", "numpy", "openvino", "pillow", "rasterio", "rio-tiler", "scipy", "torch")


@dataclass(frozen=True)
class Recipe:
    """Everything that affects the pixels of a map.

    Attributes:
        weights: digest of the weights, which covers their spec with halo and stride.
        sources: fingerprint, bands, rescale range of each photograph, and how else it is read.
        appearance: scale and colours of restored pixels.
        mark: XMP of restored pictures; empty for none. No pixel, but part of what is stored.
    """

    weights: str
    sources: tuple[tuple[str, tuple[int, ...], tuple[float, float], str], ...]
    appearance: Appearance
    mark: str = ""

    @classmethod
    def of(
        cls,
        weights: str,
        sources: Iterable[Source],
        appearance: Appearance,
        *,
        mark: bytes = b"",
        dated: bool = True,
    ) -> Recipe:
        """Return the recipe of a map that shows these photographs.

        Args:
            weights: digest of the weights.
            sources: the photographs.
            appearance: of restored pixels.
            mark: XMP of restored pictures.
            dated: whether the times of the photographs' files count, in which copies on other hosts may differ.
        """
        described = tuple(
            (info.fingerprint if dated else info.undated_fingerprint, info.bands, info.rescale, info.reading)
            for info in (source.info for source in sources)
        )
        return cls(weights, described, appearance, mark.decode())

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of these fields, and of the constants that affect pixels."""
        constants = {
            "version": RECIPE_VERSION,
            "metatile_px": grid.METATILE_PX,
            "levels": [grid.LEVELS_BELOW, grid.LEVELS_ABOVE],
            "warp": [WARP_KERNEL.name, WARP_TOLERANCE_PX, PART_PX],
            "difference": [NO_DIFFERENCE, DIFFERENCE_GAIN],
            "margin_px": MARGIN_PX,
            "finish": [finish.BLOCK_PX, finish._SIGMA_BLOCKS, finish._REACH_BLOCKS, finish._PIVOT],
            "quality": [encode.JPEG_QUALITY, encode.WEBP_QUALITY, encode.WEBP_METHOD],
            "colour_map": MAP_VERSION,
            "tone": [colours.SAMPLES_PER_SIDE, colours.SAMPLE_PX],
        }
        text = json.dumps([_rounded(asdict(self)), constants], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def mark_of(settings: Settings, spec: ModelSpec, digest: str) -> bytes:
    """Return the XMP that the settings put into restored pictures; empty for none.

    Args:
        settings: of the map.
        spec: of its network.
        digest: of the network's weights.
    """
    return ai_packet(spec.name, digest) if settings.ai_mark else b""


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that may round pixels differently: part of the machine, not the recipe."""
    found = {"gdal": rasterio.__gdal_version__}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):  # torch is not needed on a CPU
            found[name] = version(name)
    return found


def _rounded(value: Any) -> Any:
    """Round estimates, such as the photograph's resolution: their last digits depend on the processor."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
