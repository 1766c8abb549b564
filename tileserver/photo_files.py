"""The files that a photograph consists of: a digest that changes with them, and whether they are still the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from rasterio.io import DatasetReader

_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 64 * 1024

# Size in bytes and date in nanoseconds of a local file; None for what only GDAL can open, and for what is gone.
FileState = tuple[int, int] | None


def files_of(path: str, dataset: DatasetReader) -> tuple[str, ...]:
    """The file itself, and what it refers to: a VRT's pictures, overviews beside it."""
    return tuple(dict.fromkeys([path, *sorted(dataset.files)]))


def states(files: tuple[str, ...]) -> tuple[FileState, ...]:
    """How the files are at the moment; takes microseconds each, so that every read can ask."""
    return tuple(_state(file) for file in files)


def fingerprint(path: str, dataset: DatasetReader) -> str:
    """Digest of what is cheap to read and changes with the files: header, dates, samples of the first one's bytes."""
    digest = hashlib.sha256()
    profile = {key: str(value) for key, value in dataset.profile.items()}
    digest.update(json.dumps([profile, dataset.overviews(1), dataset.tags()], sort_keys=True).encode())
    digest.update(repr(states(files_of(path, dataset))).encode())
    found = _state(path)
    if found is not None:
        with Path(path).open("rb") as file:
            for part in range(_SAMPLES):
                file.seek(max(0, found[0] - _SAMPLE_BYTES) * part // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _state(file: str) -> FileState:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
