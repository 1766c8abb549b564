"""The exceptions of tileserver, and the HTTP status of each.

TileServerError
├── StartError                the server cannot start; `orthosharp` prints the reason and exits with status 2
│   ├── SettingsError         an invalid option, or the demo's files are missing
│   ├── SourceError           the photograph cannot be served: unreadable, no CRS, unsuitable bands
│   ├── ArchiveError          a file or folder of tiles cannot be read, or must not be overwritten
│   │   └── ForeignArchiveError  another program made the archive
│   └── ClusterError          a cluster does not answer, or one of its hosts would make other tiles
├── RequestError              the request is invalid
│   ├── OutsideError          the place, zoom, layer or tile matrix set does not exist
│   │   └── BesideError       the tile lies beside the photograph
│   ├── BadParameterError     a value is malformed or too large
│   └── UnsupportedOptionError  an option that other tile servers have, and this one has not
├── OverloadedError           a queue is full or a deadline has passed
├── AbandonedError            every client that asked for this has disconnected
├── StoreError                the tile store failed; the tile is rendered instead
│   └── DamagedError          a stored tile differs from what was written
├── ReadError                 a block of the photograph cannot be read
├── OutputError               output cannot be written: the disk is full, or the store does not respond
└── SourceChangedError        the photograph was replaced while it was served
"""

from __future__ import annotations

from typing import Final

from sr_model import InferenceError


class TileServerError(Exception):
    """Base class. Messages say how to solve the problem, and never contain a local path."""


class StartError(TileServerError):
    """The server cannot start. The message is printed to the terminal only, so it may contain paths."""


class SettingsError(StartError):
    """An option is invalid, or the demo's files are missing."""


class SourceError(StartError):
    """The photograph cannot be served: it is unreadable, has no CRS, or its bands are unsuitable."""


class ArchiveError(StartError):
    """A file or folder of tiles cannot be read, or must not be overwritten."""


class ForeignArchiveError(ArchiveError):
    """Another program made the archive."""


class ClusterError(StartError):
    """A cluster does not answer, or one of its hosts would make other tiles than the others."""


class RequestError(TileServerError):
    """The request is invalid."""


class OutsideError(RequestError):
    """The place, zoom, layer or tile matrix set does not exist."""


class BesideError(OutsideError):
    """The tile exists at a zoom that is served, and lies beside the photograph."""


class BadParameterError(RequestError):
    """A value is malformed or too large."""


class UnsupportedOptionError(RequestError):
    """An option that other tile servers obey, and that is not ignored in silence here."""


class OverloadedError(TileServerError):
    """A queue is full or a deadline has passed.

    Attributes:
        retry_after_s: when to try again, in seconds.
    """

    def __init__(self, message: str, retry_after_s: int = 2) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AbandonedError(TileServerError):
    """Every client that asked for this has disconnected."""


class StoreError(TileServerError):
    """The tile store failed. The tile is rendered instead."""


class DamagedError(StoreError):
    """A stored tile differs from what was written."""


class ReadError(TileServerError):
    """A block of the photograph cannot be read.

    Attributes:
        place: file and block, and GDAL's reason, in one line for logs and lists of failures; may be empty.
    """

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class OutputError(TileServerError):
    """Output cannot be written. The message is printed to the terminal only, so it may contain paths."""


class SourceChangedError(TileServerError):
    """The photograph was replaced while it was served."""


# The first matching class decides, so subclasses come before their base classes.
HTTP_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (OutsideError, 404),
    (BadParameterError, 422),
    (RequestError, 400),
    (OverloadedError, 503),
    (AbandonedError, 499),  # nginx's "client closed request"; seen in metrics only
    (SourceChangedError, 503),
    (ReadError, 502),
    (InferenceError, 500),
    (TileServerError, 500),
)
