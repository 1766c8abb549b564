"""Cached tiles, answered before any routing: the short cut that most requests of a busy server take.

Only the path is parsed, and Accept where the path names no format; the result is kept while the path is in frequent
use. All other requests go on to the application, which also reports what is wrong with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from tileserver.attribution import ai_header
from tileserver.service import Tile, TileRequest, TileService
from tileserver.stages import ZERO_SECONDS, server_timing
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.layer import AI_LAYERS, WEB_MERCATOR
from tileserver.web.formats import DEFAULT_FORMAT, accepted_format
from tileserver.web.middleware import AI_HEADER, ResponsePolicy, etag_matches, local_path
from tileserver.web.options import may_change_pixels

RawHeaders = list[tuple[bytes, bytes]]

_TILE: Final = re.compile(
    r"/(?:(?P<layer>[a-z]+)/tiles/(?P<tms>\w+)|tiles)/(?P<z>\d+)/(?P<x>\d+)/(?P<y>\d+)"
    rf"(?:(?:@(?P<scale>[12])x)?\.(?P<ext>{'|'.join(MEDIA_TYPES)}|jpeg))?",
    re.ASCII,
)
# Longer than the path of any tile; longer paths must not fill the memory of parsed paths.
_MAX_PATH_LENGTH: Final = 120
_MAX_PARSED_PATHS: Final = 16_384


@lru_cache(_MAX_PARSED_PATHS)
def parse_tile_path(path: str) -> TileRequest | None:
    """Return the tile that a path in the usual form names, else None; in DEFAULT_FORMAT if the path names no format."""
    found = _TILE.fullmatch(path)
    if found is None:
        return None
    tile = TileAddress(int(found["z"]), int(found["x"]), int(found["y"]), int(found["scale"] or 1))
    extension = cast(Extension, "jpg" if found["ext"] == "jpeg" else found["ext"] or DEFAULT_FORMAT)
    return TileRequest(found["layer"] or "restored", found["tms"] or WEB_MERCATOR, tile, extension)


def header_value(scope: Scope, name: bytes) -> str | None:
    """Return the value of a request's header; `name` is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


@dataclass(frozen=True)
class CachedTiles:
    """Answers GET and HEAD requests for tiles in memory, including conditional ones, and passes on all others.

    Attributes:
        app: the application that other requests are passed on to.
        service: the map's tiles.
        policy: headers that every response carries.
    """

    app: ASGIApp
    service: TileService
    policy: ResponsePolicy
    _headers_by_layer: dict[tuple[str, str], RawHeaders] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        path = local_path(scope)
        request = self.request_of(path)
        is_negotiated = request is not None and "." not in path
        if request is not None and is_negotiated:
            accepted = accepted_format(header_value(scope, b"accept") or "")
            request = replace(request, extension=accepted)
        tile = self.service.cached(request) if request is not None else None
        if request is None or tile is None or may_change_pixels(scope.get("query_string", b"")):
            await self.app(scope, receive, send)
            return
        matches = tile.body and etag_matches(header_value(scope, b"if-none-match"), tile.etag)
        status = 304 if matches else 200 if tile.body else 204
        headers = self.headers_of(request, tile, status, header_value(scope, b"origin"))
        if is_negotiated:
            headers.append((b"vary", b"Accept"))
        self.service.metrics.count_response(path, status)
        body = tile.body if status == 200 and scope["method"] == "GET" else b""
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def request_of(self, path: str) -> TileRequest | None:
        """Return the tile that a path without the map's name asks for, if it is one in the usual form."""
        return parse_tile_path(path) if len(path) <= _MAX_PATH_LENGTH else None

    def headers_of(self, request: TileRequest, tile: Tile, status: int, origin: str | None) -> RawHeaders:
        """Return the headers of an answer: 200, 204 for an empty tile, or 304 for one that the client has."""
        headers = [*self._layer_headers(request), *self.policy.cors(origin)]
        if status != 204:
            headers.append((b"etag", tile.etag.encode()))
        if status == 200:
            headers.append((b"content-type", tile.media_type.encode()))
            headers.append((b"content-length", str(len(tile.body)).encode()))
        return headers

    def _layer_headers(self, request: TileRequest) -> RawHeaders:
        """Return the headers that all cached tiles of a layer and format share; built once for each."""
        key = (request.layer, request.extension)
        if key not in self._headers_by_layer:
            ai = {AI_HEADER: ai_header(self.service)} if request.layer in AI_LAYERS else {}
            named = {
                "Cache-Control": f"public, max-age={self.service.settings.max_age_s}",
                "Cache-Status": "orthosharp; hit",
                "Server-Timing": server_timing(ZERO_SECONDS),
                **self.policy.security,
                **ai,
            }
            raw = [(name.lower().encode(), value.encode()) for name, value in named.items()]
            self._headers_by_layer[key] = raw
        return self._headers_by_layer[key]
