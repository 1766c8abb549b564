"""Cached tiles, answered by the HTTP protocol itself: no task, no scope and no middleware for what is in memory.

What makes a request anything but a plain GET of such a tile leaves it to the application, which answers it alike
(`tileserver.web.cached_tiles`); tests hold the two against each other.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.types import Scope

from tileserver.tiling.tile import Tile, TileKey, TileRequest
from tileserver.web.cached_tiles import CachedTiles, RawHeaders
from tileserver.web.middleware import etag_matches, local_path
from tileserver.web.request_id import REQUEST_ID_HEADER, is_request_id

if TYPE_CHECKING:
    from tileserver.web.maps import Generation

# Headers with which a request is left to the application: it has a body, wants another protocol, or a proxy says where
# the server is.
_LEFT: Final = frozenset(
    {
        b"content-length",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"x-forwarded-host",
        b"x-forwarded-prefix",
    }
)
_REQUEST_ID: Final = REQUEST_ID_HEADER.lower().encode()
_STATUS: Final = {
    200: b"HTTP/1.1 200 OK\r\n",
    204: b"HTTP/1.1 204 No Content\r\n",
    304: b"HTTP/1.1 304 Not Modified\r\n",
}
# Paths whose tiles are remembered; beyond, all are looked up anew.
_MOST_PATHS: Final = 16_384


@dataclass(slots=True)
class _Known:
    """What a path stands for, in one generation of maps.

    Attributes:
        generation: the maps; others may have another tile there.
        cached: answers for the map that the path belongs to.
        path: without the map's name.
        key: of the tile.
        etag, head: entity tag of the tile that the head of an answer was made for, and that head without its end.
    """

    generation: Generation
    cached: CachedTiles
    path: str
    key: TileKey
    request: TileRequest
    etag: str = ""
    head: bytes = b""


class InstantTiles:
    """Makes the answers; not thread-safe, as the event loop is the only caller.

    Args:
        current: gives the maps that are open now.
    """

    def __init__(self, current: Callable[[], Generation]) -> None:
        self._current = current
        self._known: dict[bytes, _Known] = {}
        # Unique, not secret: a random beginning, and then counted.
        self._ids = itertools.count(secrets.randbits(127))

    def answer(self, url: bytes, headers: RawHeaders, own: RawHeaders) -> tuple[bytes, bytes] | None:
        """Answer a GET request that is to be kept alive.

        Args:
            url: the target of the request line.
            headers: of the request, with names in lower case.
            own: headers that the HTTP server adds to each answer, such as the date.

        Returns:
            Head and body of the answer; None if the application has to answer.
        """
        known = self._known.get(url)
        generation = self._current()
        if known is None or known.generation is not generation:
            known = self._look_up(url, generation)
            if known is None:
                return None
        origin = match = request_id = None
        for name, value in headers:
            if name in _LEFT:
                return None
            if name == b"origin":
                origin = value
            elif name == b"if-none-match":
                match = value
            elif name == _REQUEST_ID:
                request_id = value
        service = known.cached.service
        tile = service.shared.tiles.in_memory(known.key)
        if tile is None:
            return None
        status = 200 if tile.body else 204
        if match is not None and tile.body and etag_matches(match.decode("latin-1"), tile.etag):
            status = 304
        head = self._head(known, tile, status, origin)
        service.metrics.count_response(known.path, status)
        added = b"".join([b"%b: %b\r\n" % header for header in own])
        ending = b"x-request-id: %b\r\n\r\n" % self._id(request_id)
        return _STATUS[status] + added + head + ending, tile.body if status == 200 else b""

    def _look_up(self, url: bytes, generation: Generation) -> _Known | None:
        """Find the tile that a path stands for, if it is served."""
        try:
            path = url.decode("ascii")
        except UnicodeDecodeError:
            return None
        scope: Scope = {"type": "http", "path": path, "root_path": ""}
        app, inner = generation.app_for(scope)
        cached = getattr(app, "cached_tiles", None)
        local = local_path(inner)
        if "." not in local:  # the format depends on the headers
            return None
        if not isinstance(cached, CachedTiles) or (request := cached.request_of(local)) is None:
            return None
        if not cached.service.rasters.serves(request.layer, request.tms, request.tile):
            return None
        if len(self._known) >= _MOST_PATHS:
            self._known.clear()
        key = TileKey.of(cached.service.content, request)
        known = self._known[url] = _Known(generation, cached, local, key, request)
        return known

    def _head(self, known: _Known, tile: Tile, status: int, origin: bytes | None) -> bytes:
        """Headers of an answer; those of the usual one are kept."""
        policy = known.cached.policy
        is_usual = status == 200 and "*" in policy.origins
        if is_usual and known.etag == tile.etag:
            return known.head
        text = None if origin is None else origin.decode("latin-1")
        named = known.cached.headers_of(known.request, tile, status, text)
        head = b"".join([b"%b: %b\r\n" % header for header in named])
        if is_usual:
            known.etag, known.head = tile.etag, head
        return head

    def _id(self, given: bytes | None) -> bytes:
        if given is not None and is_request_id(text := given.decode("latin-1")):
            return text.encode("latin-1")
        return b"%032x" % (next(self._ids) % (1 << 128))
