"""Tiles over HTTP: checks, conditional requests, and the thread that renders."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.responses import Response

from tileserver.encode import MEDIA_TYPES, Extension
from tileserver.errors import BadParameterError, OutsideError, OverloadedError
from tileserver.grid import TileAddress
from tileserver.middleware import etag_matches
from tileserver.service import Tile, TileRequest, TileService
from tileserver.stages import Stages


@dataclass(frozen=True)
class TileEndpoint:
    """Answers the tile requests of every route.

    Attributes:
        service: makes the tiles.
        limiter: threads that may work on them at once.
    """

    service: TileService
    limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))

    @classmethod
    def of(cls, service: TileService) -> TileEndpoint:
        """Endpoint with as many threads as the settings allow."""
        return cls(service, CapacityLimiter(service.settings.threads))

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
            return Response(status_code=304, headers=self._headers(etag, Stages(), hit=True))
        # What is cached was answered before routing; see `warm`.
        return self._response(await self._render(wanted))

    async def _render(self, wanted: TileRequest) -> Tile:
        """The tile from a thread, for which the wait is bounded in number and in time."""
        settings, waiting = self.service.settings, self.limiter.statistics().tasks_waiting
        if waiting >= settings.queue_size:
            raise OverloadedError(f"{waiting} tiles wait for a thread: try again in a moment")
        # Only the wait for a thread ends at the deadline: anyio shields what runs, and its tile is answered.
        with anyio.move_on_after(settings.deadline_s):
            return await anyio.to_thread.run_sync(self.service.tile, wanted, limiter=self.limiter)
        raise OverloadedError(f"no thread had time for this within {settings.deadline_s:g} s: try again", 5)

    def _response(self, tile: Tile) -> Response:
        headers = self._headers(tile.etag, tile.stages, hit=tile.hit)
        if not tile.body:
            del headers["ETag"]
            return Response(status_code=204, headers=headers)
        return Response(tile.body, media_type=tile.media_type, headers=headers)

    def _headers(self, etag: str, stages: Stages, *, hit: bool) -> dict[str, str]:
        return {
            "ETag": etag,
            "Cache-Control": f"public, max-age={self.service.settings.max_age_s}",
            "Cache-Status": "orthosharp; hit" if hit else "orthosharp; fwd=miss",
            "Server-Timing": stages.server_timing(),
        }


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
