"""Tiles over HTTP: checks, conditional requests, the thread that renders, and what an overload becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from tileserver.errors import BadParameterError, OutsideError, OverloadedError
from tileserver.service import Tile, TileRequest, TileService
from tileserver.stages import NO_WORK, server_timing
from tileserver.tiling.encode import MEDIA_TYPES, Extension
from tileserver.tiling.grid import TileAddress
from tileserver.web.middleware import AI_HEADER, etag_matches
from tileserver.web.workers import Workers

# Old pictures under overload: cheap, and made apart from what is stuck.
_SPARE_THREADS = 2
_SPARE_WAITING = 64
_SPARE_DEADLINE_S = 5.0
OLD_NOTE = "old photograph, not restored; overloaded"


@dataclass(frozen=True)
class TileEndpoint:
    """Answers the tile requests of every route.

    Attributes:
        service: makes the tiles.
        workers: threads that may work on them at once.
        spare: threads that show the old picture when those are too busy, or None to refuse instead.
    """

    service: TileService
    workers: Workers
    spare: Workers | None = None

    @classmethod
    def of(cls, service: TileService) -> TileEndpoint:
        """Endpoint with as many threads as the settings allow."""
        settings = service.settings
        workers = Workers(settings.threads, settings.queue_size, settings.deadline_s)
        if settings.overload != "old":
            return cls(service, workers)
        spare = Workers(_SPARE_THREADS, _SPARE_WAITING, min(_SPARE_DEADLINE_S, settings.deadline_s))
        return cls(service, workers, spare)

    async def answer(
        self, request: Request, layer: str, tms: str, tile: TileAddress, extension: str
    ) -> Response:
        """The tile as 200, 204 (nothing to show and no transparency) or 304.

        Raises:
            RequestError: see `errors`; so are all others that `TileService.tile` raises.
        """
        wanted = TileRequest(layer, tms, tile, checked_extension(extension))
        check_scale(tile)
        etag = self.service.key(wanted).etag
        if etag_matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=self._headers(etag, NO_WORK, hit=True))
        # What is in memory was answered before routing; see `warm`.
        try:
            return self._response(await self._render(self.workers, request, wanted))
        except OverloadedError:
            if self.spare is None or layer != "restored":
                raise
            old = replace(wanted, layer="old")
            shown = self.service.cached(old) or await self._render(self.spare, request, old)
            return self._not_restored(shown)

    def close(self) -> None:
        """Let the threads go."""
        self.workers.close()
        if self.spare is not None:
            self.spare.close()

    async def _render(self, workers: Workers, request: Request, wanted: TileRequest) -> Tile:
        return await workers.run(partial(self.service.tile, wanted), partial(_gone, request))

    def _response(self, tile: Tile) -> Response:
        headers = self._headers(tile.etag, tile.seconds, hit=tile.hit)
        if not tile.body:
            del headers["ETag"]
            return Response(status_code=204, headers=headers)
        return Response(tile.body, media_type=tile.media_type, headers=headers)

    def _not_restored(self, tile: Tile) -> Response:
        """The old picture in a restored one's place, which nobody may keep."""
        headers = {AI_HEADER: OLD_NOTE, "Cache-Control": "no-store", "Retry-After": "5"}
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


async def _gone(request: Request) -> None:
    """Returns when the visitor has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def checked_extension(extension: str) -> Extension:
    """Extension of a known format.

    Raises:
        OutsideError: there is none such.
    """
    for known in MEDIA_TYPES:
        if extension == known:
            return known
    raise OutsideError(f"there is no format {extension!r}: use one of {', '.join(MEDIA_TYPES)}")


def check_scale(tile: TileAddress) -> None:
    """Refuse scales other than 1 and 2.

    Raises:
        BadParameterError: another scale.
    """
    if tile.scale not in (1, 2):
        raise BadParameterError(f"scale @{tile.scale}x is not served: use @1x or @2x")
