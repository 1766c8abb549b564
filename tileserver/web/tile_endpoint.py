"""Tile requests over HTTP: checks, conditional requests, rendering in threads, and the response to an overload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from tileserver.errors import BadParameterError, OutsideError, OverloadedError
from tileserver.service import Tile, TileRequest, TileService
from tileserver.stages import ZERO_SECONDS, server_timing
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TileAddress
from tileserver.web.middleware import AI_HEADER, tag_of_key
from tileserver.web.workers import Workers

# Threads for old tiles under overload: apart from those that are busy, and for tiles that are cheap to make.
_FALLBACK_THREADS = 2
_FALLBACK_WAITING = 64
_FALLBACK_DEADLINE_S = 5.0
NOT_RESTORED = "old photograph, not restored; overloaded"


@dataclass(frozen=True)
class TileEndpoint:
    """Answers the tile requests of every route.

    Attributes:
        service: makes the tiles.
        workers: threads that render tiles.
        fallback_workers: threads that render the old layer when `workers` are overloaded; None to answer 503.
    """

    service: TileService
    workers: Workers
    fallback_workers: Workers | None = None

    @classmethod
    def of(cls, service: TileService) -> TileEndpoint:
        """Return an endpoint with the threads and deadlines of the service's settings."""
        settings = service.settings
        workers = Workers(settings.threads, settings.queue_size, settings.deadline_s)
        if settings.overload != "old":
            return cls(service, workers)
        deadline_s = min(_FALLBACK_DEADLINE_S, settings.deadline_s)
        return cls(service, workers, Workers(_FALLBACK_THREADS, _FALLBACK_WAITING, deadline_s))

    async def answer(
        self, request: Request, layer: str, tms: str, tile: TileAddress, extension: str
    ) -> Response:
        """Return the tile with status 200, 204 (no data, in a format without transparency) or 304.

        Raises:
            RequestError: the request is invalid.
            TileServerError, sr_model.InferenceError: see `TileService.tile` and `Workers.run`.
        """
        wanted = TileRequest(layer, tms, tile, checked_extension(extension))
        check_scale(tile)
        known = tag_of_key(request.headers.get("if-none-match"), self.service.key(wanted).digest)
        if known is not None:
            return Response(status_code=304, headers=self._headers(known, ZERO_SECONDS, hit=True))
        # Tiles in memory were answered before routing; see `cached_tiles`.
        try:
            return self._response(await self._render(self.workers, request, wanted))
        except OverloadedError:
            if self.fallback_workers is None or layer != "restored":
                raise
            old = replace(wanted, layer="old")
            tile_of_old = self.service.cached(old) or await self._render(self.fallback_workers, request, old)
            return self._not_restored(tile_of_old)

    def close(self) -> None:
        """Stop the threads."""
        self.workers.close()
        if self.fallback_workers is not None:
            self.fallback_workers.close()

    async def _render(self, workers: Workers, request: Request, wanted: TileRequest) -> Tile:
        return await workers.run(partial(self.service.tile, wanted), partial(_disconnected, request))

    def _response(self, tile: Tile) -> Response:
        headers = self._headers(tile.etag, tile.seconds, hit=tile.hit)
        if not tile.body:
            del headers["ETag"]
            return Response(status_code=204, headers=headers)
        return Response(tile.body, media_type=tile.media_type, headers=headers)

    def _not_restored(self, tile: Tile) -> Response:
        """Return a tile of the old layer in place of a restored one; it must not be cached."""
        headers = {AI_HEADER: NOT_RESTORED, "Cache-Control": "no-store", "Retry-After": "5"}
        return Response(
            tile.body or None, 200 if tile.body else 204, media_type=tile.media_type, headers=headers
        )

    def _headers(self, etag: str, seconds: Mapping[str, float], *, hit: bool) -> dict[str, str]:
        return {
            "ETag": etag,
            "Cache-Control": f"public, max-age={self.service.settings.max_age_s}",
            "Cache-Status": "orthosharp; hit" if hit else "orthosharp; fwd=miss",
            "Server-Timing": server_timing(seconds),
        }


async def _disconnected(request: Request) -> None:
    """Return when the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def checked_extension(extension: str) -> Extension:
    """Return the extension if its format is supported.

    Raises:
        OutsideError: it is not.
    """
    for known in MEDIA_TYPES:
        if extension == known:
            return known
    raise OutsideError(f"unknown format {extension!r}: use one of {', '.join(MEDIA_TYPES)}")


def check_scale(tile: TileAddress) -> None:
    """Check that a tile's scale is 1 or 2.

    Raises:
        BadParameterError: it is neither.
    """
    if tile.scale not in (1, 2):
        raise BadParameterError(f"scale @{tile.scale}x is not served: use @1x or @2x")
