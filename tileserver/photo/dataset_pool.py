"""Open GDAL datasets for many threads: one dataset serves one thread at a time, and there are never many."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader


class DatasetPool:
    """A bounded pool of open datasets of one file.

    Args:
        path: what GDAL opens.
        size: most datasets open at the same time; more borrowers wait.
        overview: overview to open instead of the full picture, counted from 0.
    """

    def __init__(self, path: str, size: int, overview: int | None = None) -> None:
        self._path = path
        self._options: dict[str, Any] = {} if overview is None else {"overview_level": overview}
        self._idle: list[DatasetReader] = []
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self) -> Iterator[DatasetReader]:
        """Lend a dataset to this thread.

        Raises:
            rasterio.errors.RasterioIOError: the file cannot be opened.
        """
        with self._free, rasterio.Env():
            with self._lock:
                dataset = self._idle.pop() if self._idle else None
            if dataset is None:
                dataset = open_dataset(self._path, **self._options)
            try:
                yield dataset
            except BaseException:
                # A dataset may remember a half-read block after an error: the next request gets a fresh one.
                dataset.close()
                raise
            with self._lock:
                self._idle.append(dataset)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for dataset in idle:
            dataset.close()


def open_dataset(path: str, **options: Any) -> DatasetReader:
    """Open a raster without the warning about missing georeference, which `Source` reports as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, **options)
