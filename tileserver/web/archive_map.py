"""The web application of a map that is a seeded archive: its tiles and its page, without photograph or network."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from rasterio.warp import transform_bounds
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tileserver.archives.identity import Identity
from tileserver.archives.readers import Archive
from tileserver.cache.archive_store import UNREADABLE
from tileserver.errors import ArchiveError, DamagedError, OutsideError
from tileserver.metrics import Metrics
from tileserver.photo.inputs.years import year_in
from tileserver.photo.pixel_size import WGS84
from tileserver.settings import Settings
from tileserver.tiling.encode import MEDIA_TYPES, is_whole
from tileserver.tiling.grid import BBox, QuadGrid
from tileserver.tiling.layer import ONLY_MAP, WEB_MERCATOR, supported_tms
from tileserver.web.admission import Admission
from tileserver.web.app import COMMON_RESPONSES, Application, add_error_handlers, add_page
from tileserver.web.catalogue import Catalogue, catalogue_routes
from tileserver.web.forwarded import base_url
from tileserver.web.middleware import LimitRequests, ResponseHeaders, ResponsePolicy, etag_matches
from tileserver.web.offers import Offer, OfferedGrid, wmts_path
from tileserver.web.tilejson import tile_path

logger = logging.getLogger("orthosharp")
_LAYER: Final = "restored"


def create_archive_app(
    settings: Settings, archive: Archive, metrics: Metrics, admission: Admission
) -> FastAPI:
    """Return the web application of an archive.

    Args:
        settings: of the map; `source` is the archive.
        archive: closed by the application's `state.close`.
        metrics, admission: of the whole server.

    Raises:
        ArchiveError: its metadata lack a field, or its tiles are not in Web Mercator, which the page shows.
    """
    tiles = ArchiveTilesOfMap(settings, archive)
    # As of other maps: Swagger's page would fetch scripts from another site.
    app = Application(title="orthosharp", docs_url=None, redoc_url=None, responses=COMMON_RESPONSES)
    app.state.close = archive.close
    app.state.is_outdated = tiles.is_outdated
    app.state.page_config = tiles.page_config
    app.state.offers = tiles.offers
    app.state.catalogue = Catalogue({ONLY_MAP: app}, ONLY_MAP)
    app.include_router(_routes(tiles, metrics))
    app.include_router(catalogue_routes())
    add_page(app)
    add_error_handlers(app)
    app.add_middleware(LimitRequests, admission=admission)
    app.add_middleware(
        ResponseHeaders,
        policy=ResponsePolicy(settings.cors_origins, settings.frame_ancestors, settings.geocoder),
        ai_header=f"AI-restored; model={tiles.identity.model}; digest={tiles.identity.weights}",
        ai_prefixes=("/tiles/", f"/{_LAYER}/"),
        count=metrics.count_response,
    )
    app.default_root = settings.root_path
    return app


class ArchiveTilesOfMap:
    """The tiles of an archive with what documents say of them; raises as `create_archive_app`."""

    def __init__(self, settings: Settings, archive: Archive) -> None:
        self.settings, self._archive = settings, archive
        self._path = Path(str(settings.source))
        self._state = self._path.stat()
        try:
            self.contents = archive.contents
        except (ValueError, KeyError, TypeError) as error:
            raise ArchiveError(f"{settings.source}: its metadata lack {error}: seed it again") from error
        if archive.identity.tms != WEB_MERCATOR:
            raise ArchiveError(
                f"{settings.source} has tiles in {archive.identity.tms}, and the page shows {WEB_MERCATOR} only: "
                "seed it in that, or serve the photograph with it as --store"
            )
        self._digest = hashlib.sha256(repr(sorted(archive.metadata.items())).encode()).hexdigest()[:32]

    @property
    def identity(self) -> Identity:
        """What made the tiles."""
        return self._archive.identity

    @property
    def title(self) -> str:
        """The setting `name`, else that of the archive."""
        return self.settings.name or self.contents.name

    def is_outdated(self) -> bool:
        """Return whether the file was replaced since it was opened."""
        try:
            now = self._path.stat()
        except OSError:
            return False  # an open file can still be read
        return (now.st_mtime_ns, now.st_size) != (self._state.st_mtime_ns, self._state.st_size)

    def get(self, z: int, x: int, y: int) -> bytes | None:
        """Return a tile, or None if the archive has none there.

        Raises:
            OutsideError: there is no such tile in the grid.
            DamagedError: the archive is damaged there.
        """
        if not (0 <= z <= self.contents.max_zoom and 0 <= x < 1 << z and 0 <= y < 1 << z):
            raise OutsideError(
                f"there are tiles at zooms {self.contents.min_zoom} to {self.contents.max_zoom} only: see the TileJSON"
            )
        try:
            body = self._archive.get(z, x, y)
        except UNREADABLE as error:
            logger.warning("%s: tile %d/%d/%d cannot be read: %s", self._path.name, z, x, y, error)
            raise DamagedError("this tile of the archive is damaged: seed it again") from error
        if body is not None and not is_whole(body, self.identity.format):
            raise DamagedError("this tile of the archive is damaged: seed it again")
        return body

    def etag(self, body: bytes) -> str:
        """Return the entity tag of a tile."""
        return f'"{self._digest}-{hashlib.sha256(body).hexdigest()[:16]}"'

    def page_config(self, root_path: str) -> dict[str, Any]:
        """Return the page's configuration, as `tileserver.web.tilejson.page_config` does for a photograph."""
        known = self.contents
        return {
            "name": self.title,
            "year": self.settings.year or year_in(self._path.stem) or year_in(known.name),
            "new_year": None,
            "credit": self.settings.credit or known.credit,
            "ai_notice": known.notice,
            "geocoder": self.settings.geocoder,
            "layers": [_LAYER],
            "root_path": root_path,
            "tiles": {_LAYER: root_path + tile_path(_LAYER, WEB_MERCATOR, self.identity.format)},
            "bounds": list(known.bounds),
            "layer_bounds": {_LAYER: list(known.bounds)},
            "center": [*known.bounds.centre, max(known.max_zoom - 1, known.min_zoom)],
            "minzoom": known.min_zoom,
            "maxzoom": known.max_zoom,
            "overview_zoom": known.min_zoom,
            "native_zoom": known.max_zoom,
        }

    def tilejson(self, base: str) -> dict[str, Any]:
        """Return the TileJSON 3.0.0 document."""
        known = self.contents
        return {
            "tilejson": "3.0.0",
            "name": self.title,
            "version": "1.0.0",
            "scheme": "xyz",
            "attribution": known.attribution,
            "tiles": [base + tile_path(_LAYER, WEB_MERCATOR, self.identity.format)],
            "tileSize": 256,
            "bounds": list(known.bounds),
            "center": [*known.bounds.centre, max(known.max_zoom - 1, known.min_zoom)],
            "minzoom": known.min_zoom,
            "maxzoom": known.max_zoom,
        }

    def offers(self, base: str, prefix: str) -> list[Offer]:
        """Return what a WMTS document says of the archive's only layer."""
        known = self.contents
        tms = supported_tms().get(WEB_MERCATOR)
        served = BBox(*transform_bounds(WGS84, tms.crs.to_wkt(), *known.bounds, densify_pts=21))
        zooms = range(known.min_zoom, known.max_zoom + 1)
        return [
            Offer(
                identifier=prefix + _LAYER,
                title=f"{self.title}: {_LAYER}",
                abstract=" | ".join(filter(None, (known.credit, known.notice))),
                bounds_lonlat=known.bounds,
                extension=self.identity.format,
                template=base + wmts_path(_LAYER, self.identity.format),
                grids={WEB_MERCATOR: OfferedGrid(QuadGrid.from_tms(tms), served, zooms)},
            )
        ]


def _routes(tiles: ArchiveTilesOfMap, metrics: Metrics) -> APIRouter:
    router = APIRouter()
    max_age = f"public, max-age={tiles.settings.max_age_s}"

    def answer(request: Request, z: int, x: int, y: str, extension: str) -> Response:
        """Return a tile; `y` may end in @2x, and gets the same: an archive has one size only."""
        if extension != tiles.identity.format:
            raise OutsideError(f"the archive has tiles in {tiles.identity.format} only")
        row = y.removesuffix("@2x")
        if not (row.isascii() and row.isdigit()):
            raise OutsideError("there is no such tile: see the TileJSON")
        body = tiles.get(z, x, int(row[:9]))
        if body is None:
            if tiles.settings.outside_of(_LAYER) == "404":
                raise OutsideError("the archive has no tile here: see the bounds in the TileJSON")
            return Response(status_code=204, headers={"Cache-Control": max_age})
        headers = {"ETag": tiles.etag(body), "Cache-Control": max_age, "Cache-Status": "orthosharp; hit"}
        if etag_matches(request.headers.get("if-none-match"), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=MEDIA_TYPES[tiles.identity.format], headers=headers)

    router.add_api_route("/tiles/{z}/{x}/{y}.{extension}", answer, response_class=Response)
    router.add_api_route(
        f"/{_LAYER}/tiles/{WEB_MERCATOR}/{{z}}/{{x}}/{{y}}.{{extension}}", answer, response_class=Response
    )

    for path in ("/tilejson.json", f"/{_LAYER}/{WEB_MERCATOR}/tilejson.json"):

        @router.get(path)
        def tilejson(request: Request) -> JSONResponse:
            return JSONResponse(tiles.tilejson(base_url(request)))

    @router.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @router.get("/metrics", response_class=PlainTextResponse)
    def exposition() -> PlainTextResponse:
        return PlainTextResponse(metrics.exposition(), media_type="text/plain; version=0.0.4")

    return router
