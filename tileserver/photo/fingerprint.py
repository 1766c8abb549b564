"""The files that a photograph consists of: a digest that changes with them, and whether they are still the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 64 * 1024
# Patches on a side of the photograph, and their own side.
_PATCHES: Final = 4
_PATCH_PX: Final = 16

# Size in bytes and date in nanoseconds of a local file; None for what only GDAL can open, and for what is gone.
FileState = tuple[int, int] | None


def files_of(path: str, dataset: DatasetReader) -> tuple[str, ...]:
    """The file itself, and what it refers to: a VRT's pictures, overviews beside it."""
    return tuple(dict.fromkeys([path, *sorted(dataset.files)]))


def states(files: tuple[str, ...]) -> tuple[FileState, ...]:
    """How the files are at the moment; takes microseconds each, so that every read can ask."""
    return tuple(_state(file) for file in files)


def fingerprint(path: str, dataset: DatasetReader) -> str:
    """Digest of what is cheap to read and changes with the files: header, dates, samples of the first one's bytes.

    Where a file has no date, because only GDAL can open it, pixels stand for it.
    """
    digest = hashlib.sha256()
    profile = {key: str(value) for key, value in dataset.profile.items()}
    colours = [colour.name for colour in dataset.colorinterp]
    header = [profile, colours, dataset.overviews(1), dataset.tags()]
    digest.update(json.dumps(header, sort_keys=True).encode())
    # What decides pixels in GDAL's notes is in the header; statistics, which whoever looks adds, do not.
    dated = states(tuple(file for file in files_of(path, dataset) if not file.endswith(".aux.xml")))
    digest.update(repr(dated).encode())
    if None in dated:
        for pixels in _pixels(dataset):
            digest.update(pixels)
    found = _state(path)
    if found is not None:
        with Path(path).open("rb") as file:
            for part in range(_SAMPLES):
                file.seek(max(0, found[0] - _SAMPLE_BYTES) * part // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _pixels(dataset: DatasetReader) -> Iterator[bytes]:
    """The smallest copy inside the photograph, or patches from all over it where it has none."""
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
        with suppress(RasterioError):  # a damaged block is told to whoever asks for it
            yield dataset.read(**part).tobytes()


def _state(file: str) -> FileState:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
