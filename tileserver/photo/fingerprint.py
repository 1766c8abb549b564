"""The files of a photograph: a digest that changes with them, and their state, to notice a replacement."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from tileserver.photo.gdal_errors import gdal_errors

_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 64 * 1024
# A grid of _PATCHES x _PATCHES patches over the photograph, and their size.
_PATCHES: Final = 4
_PATCH_PX: Final = 16

# Size in bytes and modification time in nanoseconds; None for a file that is missing or that only GDAL can open.
FileState = tuple[int, int] | None


def files_of(path: str, dataset: DatasetReader) -> tuple[str, ...]:
    """Return the paths of a photograph's files: the file itself, a VRT's sources, external overviews."""
    return tuple(dict.fromkeys([path, *sorted(dataset.files)]))


def file_states(files: tuple[str, ...]) -> tuple[FileState, ...]:
    """Return size and modification time of each file; cheap enough (microseconds each) for every read."""
    return tuple(_state(file) for file in files)


class Fingerprints(NamedTuple):
    """Digests of a photograph, SHA-256 (hex): with the times of its files, and without, as copies have in common."""

    dated: str
    undated: str


def fingerprints(path: str, dataset: DatasetReader, files: tuple[str, ...], how: str = "") -> Fingerprints:
    """Return digests of a photograph's header, its files' sizes and times, and samples of its bytes.

    Pixels are sampled as well where only GDAL can open one of the files, which therefore has no modification time.

    Args:
        path: file whose bytes are sampled; empty for none.
        dataset: the photograph, open.
        files: paths of all its files.
        how: what else decides its pixels, such as a CRS that replaces its own.
    """
    profile = {key: str(value) for key, value in dataset.profile.items()}
    colours = [colour.name for colour in dataset.colorinterp]
    header = [profile, colours, dataset.overviews(1), dataset.tags(), *([how] if how else [])]
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    undated = digest.copy()
    # GDAL programs add statistics to .aux.xml files; whatever in them changes pixels is in the header already.
    states = file_states(tuple(file for file in files if not file.endswith(".aux.xml")))
    digest.update(repr(states).encode())
    undated.update(repr([state and state[0] for state in states]).encode())
    pixels = _sample_pixels(dataset) if None in states else ()
    for sample in (*pixels, *_sample_bytes(path)):
        digest.update(sample)
        undated.update(sample)
    return Fingerprints(digest.hexdigest(), undated.hexdigest())


def _sample_bytes(path: str) -> Iterator[bytes]:
    """Yield parts of a local file, evenly spread; none of what is not one."""
    found = _state(path) if path else None
    if found is not None:
        with Path(path).open("rb") as file:
            for part in range(_SAMPLES):
                file.seek(max(0, found[0] - _SAMPLE_BYTES) * part // (_SAMPLES - 1))
                yield file.read(_SAMPLE_BYTES)


def _sample_pixels(dataset: DatasetReader) -> Iterator[bytes]:
    """Yield the coarsest overview, or patches spread over the photograph if it has no overviews."""
    width, height, overviews = dataset.width, dataset.height, dataset.overviews(1)
    wanted: list[dict[str, Any]] = [
        {"window": Window(column * width // _PATCHES, row * height // _PATCHES, _PATCH_PX, _PATCH_PX)}
        for row in range(_PATCHES)
        for column in range(_PATCHES)
    ]
    if overviews:
        factor = overviews[-1]
        wanted = [{"out_shape": (dataset.count, -(-height // factor), -(-width // factor))}]
    for part in wanted:
        with (
            suppress(RasterioError, OSError),
            gdal_errors(),
        ):  # a damaged block is reported when a tile needs it
            yield dataset.read(**part).tobytes()


def _state(file: str) -> FileState:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
