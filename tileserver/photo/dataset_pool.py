"""A bounded pool of open GDAL datasets, because one dataset must not be used by two threads at a time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from tileserver.errors import ReadError

# Longest wait for a dataset: nobody reads one window for so long unless its storage hangs.
_LONGEST_WAIT_S: Final = 120.0


class DatasetPool:
    """A bounded pool of open datasets of one file.

    Args:
        path: path, URL or other name that GDAL opens.
        size: largest number of datasets open at the same time; further borrowers wait.
        overview: overview level to open instead of full resolution, counted from 0.
        longest_wait_s: after which a borrower gives up.
    """

    def __init__(
        self, path: str, size: int, overview: int | None = None, *, longest_wait_s: float = _LONGEST_WAIT_S
    ) -> None:
        self._path = path
        self._options: dict[str, Any] = {} if overview is None else {"overview_level": overview}
        self._idle: list[DatasetReader] = []
        self._longest_wait_s = longest_wait_s
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self) -> Iterator[DatasetReader]:
        """Lend a dataset to the calling thread for the length of the block.

        Raises:
            rasterio.errors.RasterioIOError: the file cannot be opened.
            ReadError: all datasets have been in use for the longest wait.
        """
        if not self._slots.acquire(timeout=self._longest_wait_s):
            raise ReadError(
                f"the photograph's storage has not answered for {self._longest_wait_s:.0f} s: look whether its disk or "
                "server hangs"
            )
        try:
            with rasterio.Env():
                with self._lock:
                    dataset = self._idle.pop() if self._idle else None
                if dataset is None:
                    dataset = open_dataset(self._path, **self._options)
                try:
                    yield dataset
                except BaseException:
                    # After an error a dataset may keep a half-read block: the next borrower opens a fresh one.
                    dataset.close()
                    raise
                with self._lock:
                    self._idle.append(dataset)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the idle datasets."""
        with self._lock:
            idle, self._idle = self._idle, []
        for dataset in idle:
            dataset.close()


def open_dataset(path: str, **options: Any) -> DatasetReader:
    """Open a raster without rasterio's warning about missing georeferencing, which `Source` reports as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, **options)
