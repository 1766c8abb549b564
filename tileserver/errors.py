"""Everything that tileserver raises on purpose, and the one table that says what it means in HTTP.

TileServerError
├── StartError                the server cannot start: `orthosharp` prints the reason and exits with 2
│   ├── SettingsError         an option that makes no sense, or a demo that is not there
│   ├── SourceError           the photograph cannot be served: unreadable, no CRS, no fitting bands
│   └── ArchiveError          a file or folder of tiles that cannot be read, or must not be written
├── RequestError              the request is wrong
│   ├── OutsideError          no such place, zoom, layer or tile matrix set
│   └── BadParameterError     a value that cannot be understood, or is too large
├── OverloadedError           a queue is full or a deadline has passed: come back later
├── AbandonedError            everybody who waited for this has left
├── StoreError                the store of tiles failed; costs time, never a tile
│   └── DamagedError          a stored tile is not what was put there
├── ReadError                 a block of the photograph cannot be read
├── OutputError               what was made cannot be written: no room, or a store that does not answer
└── SourceChangedError        the file was replaced while it was being served
"""

from __future__ import annotations

from typing import Final

from sr_model import InferenceError


class TileServerError(Exception):
    """Root of the tree; its message ends with the way out and never names a local path."""


class StartError(TileServerError):
    """The server cannot start. Only the person at the terminal sees the message, so it may name paths."""


class SettingsError(StartError):
    """An option that makes no sense, or a demo that is not there."""


class SourceError(StartError):
    """The photograph cannot be served: unreadable, no CRS, no fitting bands."""


class ArchiveError(StartError):
    """A file or folder of tiles that cannot be read, or must not be written."""


class RequestError(TileServerError):
    """The request is wrong."""


class OutsideError(RequestError):
    """No such place, zoom, layer or tile matrix set."""


class BadParameterError(RequestError):
    """A value that cannot be understood, or is too large."""


class OverloadedError(TileServerError):
    """A queue is full or a deadline has passed.

    Attributes:
        retry_after_s: when to come back, in seconds.
    """

    def __init__(self, message: str, retry_after_s: int = 2) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AbandonedError(TileServerError):
    """Everybody who waited for this has left."""


class StoreError(TileServerError):
    """The store of tiles failed; costs time, never a tile."""


class DamagedError(StoreError):
    """A stored tile is not what was put there."""


class ReadError(TileServerError):
    """A block of the photograph cannot be read."""


class OutputError(TileServerError):
    """What was made cannot be written. Only the person at the terminal sees the message."""


class SourceChangedError(TileServerError):
    """The file was replaced while it was being served."""


# The first class that matches counts, so special ones stand before general ones.
HTTP_STATUS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (OutsideError, 404),
    (BadParameterError, 422),
    (RequestError, 400),
    (OverloadedError, 503),
    (AbandonedError, 499),  # nginx's word for it; nobody is there to read it
    (SourceChangedError, 503),
    (ReadError, 502),
    (InferenceError, 500),
    (TileServerError, 500),
)
