"""The web application of a map that is a seeded archive: its tiles and its page, without photograph or network."""

from __future__ import annotations

import hashlib
import logging
from functools import partial
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from rasterio.warp import transform_bounds
from starlette.concurrency import run_in_threadpool
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
from tileserver.tiling.grid import BBox, QuadGrid, TileAddress
from tileserver.tiling.layer import ONLY_MAP, WEB_MERCATOR, supported_tms
from tileserver.web import wms, wmts
from tileserver.web.admission import Admission
from tileserver.web.app import COMMON_RESPONSES, Application, add_error_handlers, add_page
from tileserver.web.catalogue import Catalogue, catalogue_routes
from tileserver.web.forwarded import base_url
from tileserver.web.kvp import is_for_capabilities, tile_address
from tileserver.web.middleware import AI_HEADER, LimitRequests, ResponseHeaders, ResponsePolicy, etag_matches
from tileserver.web.offers import Offer, OfferedGrid, wmts_path
from tileserver.web.ogc import OgcError, Parameters, answered, xml_response
from tileserver.web.tile_endpoint import blank_tile, checked_extension
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
        ai_header=tiles.ai_header,
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
    def ai_header(self) -> str:
        """Value of X-Orthosharp."""
        return f"AI-restored; model={self.identity.model}; digest={self.identity.weights}"

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
            "ai_model": {"name": self.identity.model, "digest": self.identity.weights[:12]},
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
            "has_files": False,
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


def tile_response(tiles: ArchiveTilesOfMap, request: Request, tile: TileAddress, extension: str) -> Response:
    """Return a tile; what the setting `outside` says where the archive has none.

    Raises:
        OutsideError: the format is another one, or there is no such tile.
        DamagedError: the archive is damaged there.
    """
    form = tiles.identity.format
    if checked_extension(extension) != form:
        raise OutsideError(f"the archive has tiles in {form} only")
    body = tiles.get(tile.z, tile.x, tile.y)
    headers = {"Cache-Control": f"public, max-age={tiles.settings.max_age_s}"}
    if body is None:
        outside = tiles.settings.outside_of(_LAYER)
        if outside == "404":
            raise OutsideError("the archive has no tile here: see the bounds in the TileJSON")
        body = blank_tile(form, 1) if outside == "transparent" else b""
        if not body:  # JPEG has no transparency
            return Response(status_code=204, headers=headers)
        return Response(body, media_type=MEDIA_TYPES[form], headers=headers)
    headers |= {"ETag": tiles.etag(body), "Cache-Status": "orthosharp; hit"}
    if etag_matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=MEDIA_TYPES[form], headers=headers)


def add_services(router: APIRouter, tiles: ArchiveTilesOfMap) -> None:
    """Add WMTS by key-value pairs, and say in WMS's own words that there is none."""

    @router.get("/wmts", response_class=Response)
    async def wmts_by_kvp(request: Request) -> Response:
        return await answered(_wmts(tiles, request), wmts.exception_report)

    @router.get("/wms", response_class=Response)
    async def wms_by_kvp(request: Request) -> Response:
        version = wms.version_of(Parameters(request))
        report = partial(wms.exception_report, version)
        return await answered(_no_wms(), report, wms.EXCEPTION_TYPES[version])


async def _wmts(tiles: ArchiveTilesOfMap, request: Request) -> Response:
    asked, base = Parameters(request), base_url(request)
    if is_for_capabilities(asked):
        known = tiles.contents
        about = wmts.About(tiles.title, " | ".join(filter(None, (known.credit, known.notice))), known.credit)
        return xml_response(wmts.document(about, tiles.offers(base, ""), f"{base}/wmts?"), "application/xml")
    asked.chosen("LAYER", [_LAYER])
    asked.chosen("TILEMATRIXSET", [WEB_MERCATOR])
    asked.chosen("FORMAT", [MEDIA_TYPES[tiles.identity.format]])
    answer = await run_in_threadpool(
        tile_response, tiles, request, tile_address(asked), tiles.identity.format
    )
    answer.headers[AI_HEADER] = tiles.ai_header
    return answer


async def _no_wms() -> Response:
    raise OgcError(
        "OperationNotSupported",
        "this map is an archive of tiles, from which no WMS draws pictures: use its WMTS, or serve the photograph",
        "SERVICE",
    )


def _routes(tiles: ArchiveTilesOfMap, metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.get("/tiles/{z}/{x}/{y}.{extension}", response_class=Response)
    @router.get(f"/{_LAYER}/tiles/{WEB_MERCATOR}/{{z}}/{{x}}/{{y}}.{{extension}}", response_class=Response)
    def tile(request: Request, z: int, x: int, y: str, extension: str) -> Response:
        """Return a tile; `y` may end in @2x, and gets the same: an archive has one size only."""
        row = y.removesuffix("@2x")
        if not (row.isascii() and row.isdigit()):
            raise OutsideError("there is no such tile: see the TileJSON")
        return tile_response(tiles, request, TileAddress(z, x, int(row[:9])), extension)

    @router.get("/tiles/{z}/{x}/{y}", response_class=Response)
    @router.get(f"/{_LAYER}/tiles/{WEB_MERCATOR}/{{z}}/{{x}}/{{y}}", response_class=Response)
    def plain(request: Request, z: int, x: int, y: int) -> Response:
        """Return a tile in the only format that there is."""
        return tile_response(tiles, request, TileAddress(z, x, y), tiles.identity.format)

    add_services(router, tiles)

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
