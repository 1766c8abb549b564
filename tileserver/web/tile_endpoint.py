"""Tile requests over HTTP: checks, conditional requests, rendering in threads, and the response to an overload."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from tileserver.errors import BadParameterError, BesideError, OutsideError, OverloadedError
from tileserver.service import Tile, TileRequest, TileService
from tileserver.stages import ZERO_SECONDS, Wanted, server_timing
from tileserver.tiling.encode import MEDIA_TYPES, Extension, encode
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.raster import Raster
from tileserver.web.admission import Admission
from tileserver.web.lane import Lane
from tileserver.web.middleware import AI_HEADER, tag_of_key

T = TypeVar("T")

NOT_RESTORED = "old photograph, not restored; overloaded"


class Running:
    """Counts the calls that run in threads which other maps use as well, so that a map is closed after its last."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until no call runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0)


@dataclass(frozen=True)
class TileEndpoint:
    """Answers the tile requests of every route.

    Attributes:
        service: makes the tiles.
        admission: threads and limits, shared with other maps.
        running: the calls that the map must not be closed before.
    """

    service: TileService
    admission: Admission
    running: Running = field(default_factory=Running)

    async def answer(
        self, request: Request, layer: str, tms: str, tile: TileAddress, extension: str
    ) -> Response:
        """Return the tile with status 200, 204 (no data, in a format without transparency) or 304.

        Raises:
            RequestError: the request is invalid.
            BesideError: the tile lies beside the photograph, and the setting `outside` is 404.
            TileServerError, sr_model.InferenceError: see `TileService.tile` and `Lane.run`.
        """
        wanted = TileRequest(layer, tms, tile, checked_extension(extension))
        check_scale(tile)
        try:
            key = self.service.key(wanted)
        except BesideError as error:
            return self._beside(wanted, error)
        known = tag_of_key(request.headers.get("if-none-match"), key.digest)
        if known is not None:
            return Response(status_code=304, headers=self._headers(known, ZERO_SECONDS, hit=True))
        # Tiles in memory were answered before routing; see `cached_tiles`.
        try:
            return self._response(await self._find_or_render(request, wanted))
        except OverloadedError:
            if self.admission.fallback is None or layer != "restored":
                raise
            old = replace(wanted, layer="old")
            found = self.service.cached(old)
            if found is None:
                found = await self._run(self.admission.fallback, request, partial(self.service.tile, old))
            return self._not_restored(found)

    async def adjusted(
        self,
        request: Request,
        layer: str,
        tms: str,
        tile: TileAddress,
        extension: str,
        adjust: Callable[[Raster], Raster],
    ) -> Response:
        """Return a tile of the photograph as it is, shown in other colours: read anew and never kept.

        Raises:
            As `answer`, or what `adjust` raises.
        """
        wanted = TileRequest(layer, tms, tile, checked_extension(extension))
        check_scale(tile)
        try:
            self.service.key(wanted)
        except BesideError as error:
            return self._beside(wanted, error)

        def work(_: Wanted) -> bytes:
            raster = self.service.picture(layer, tms, tile.pixel_zoom, tile.window)
            return encode(adjust(raster), wanted.extension)

        body = await self._run(self.admission.reading, request, work)
        headers = {"Cache-Control": f"public, max-age={self.service.settings.max_age_s}"}
        if not body:
            return Response(status_code=204, headers=headers)
        return Response(body, media_type=MEDIA_TYPES[wanted.extension], headers=headers)

    def close(self) -> None:
        """Wait for the last call that runs; no request may be in progress."""
        self.running.wait()

    async def _find_or_render(self, request: Request, wanted: TileRequest) -> Tile:
        """Return a tile from the store, or made in the lane of what it needs: the network, or the photograph alone."""
        metatile = self.service.needed_metatile(wanted)
        if metatile is None:
            limits = self.admission
            lane = limits.reading if wanted.layer in ("old", "new") else limits.resampling
            return await self._run(lane, request, partial(self.service.tile, wanted))
        is_searched = self.service.shared.has_slow_store
        if is_searched:
            found = await self._run(self.admission.lookups, request, lambda _: self.service.stored(wanted))
            if found is not None:
                return found
        render = partial(self.service.tile, wanted, is_searched=is_searched)
        return await self._run(self.admission.restoring, request, render, group=metatile)

    async def _run(
        self, lane: Lane, request: Request, work: Callable[[Wanted], T], group: Hashable = None
    ) -> T:
        def counted(wanted: Wanted) -> T:
            with self.running:
                return work(wanted)

        gone = partial(_disconnected, request)
        return await lane.run(counted, gone, visitor=visitor_of(request), group=group)

    def _response(self, tile: Tile) -> Response:
        headers = self._headers(tile.etag, tile.seconds, hit=tile.hit)
        if not tile.body:
            del headers["ETag"]
            return Response(status_code=204, headers=headers)
        return Response(tile.body, media_type=tile.media_type, headers=headers)

    def _beside(self, wanted: TileRequest, error: BesideError) -> Response:
        """Return what the setting `outside` says, or raise the error."""
        answer = self.service.settings.outside_of(wanted.layer)
        if answer == "404":
            raise error
        headers = {"Cache-Control": f"public, max-age={self.service.settings.max_age_s}"}
        body = blank_tile(wanted.extension, wanted.tile.scale) if answer == "transparent" else b""
        if not body:
            return Response(status_code=204, headers=headers)
        return Response(body, media_type=MEDIA_TYPES[wanted.extension], headers=headers)

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


@lru_cache
def blank_tile(extension: Extension, scale: int) -> bytes:
    """Return a tile without data; empty in JPEG, which has no transparency."""
    return encode(Raster.blank(TileAddress(0, 0, 0, scale).window), extension)


def visitor_of(request: Request) -> str:
    """Return what turns are shared by: the address, of IPv6 the network that a household gets (/64)."""
    host = request.client.host if request.client else ""
    return ":".join(host.split(":")[:4]) if ":" in host else host


async def _disconnected(request: Request) -> None:
    """Return when the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def checked_extension(extension: str) -> Extension:
    """Return the extension of a format by any of its names, if it is supported.

    Raises:
        OutsideError: it is not.
    """
    for known in MEDIA_TYPES:
        if extension == known or (extension, known) == ("jpeg", "jpg"):
            return known
    raise OutsideError(f"unknown format {extension!r}: use one of {', '.join(MEDIA_TYPES)}")


def check_scale(tile: TileAddress) -> None:
    """Check that a tile's scale is 1 or 2.

    Raises:
        BadParameterError: it is neither.
    """
    if tile.scale not in (1, 2):
        raise BadParameterError(f"scale @{tile.scale}x is not served: use @1x or @2x")
