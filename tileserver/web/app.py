"""The web application of one map: its routes, middleware and error handlers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio.to_thread
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from rio_tiler.errors import RioTilerError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from sr_model import SrModelError
from tileserver.attribution import ai_header
from tileserver.errors import HTTP_STATUS, OverloadedError, ReadError, SourceChangedError, TileServerError
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.tiling.layer import AI_LAYERS, ONLY_MAP
from tileserver.web.admission import Admission
from tileserver.web.api_page import add_api_page
from tileserver.web.cached_tiles import CachedTiles
from tileserver.web.catalogue import Catalogue, catalogue_routes
from tileserver.web.crs import safe_crs_dependencies
from tileserver.web.documents import HTML, DocumentFormat, wants_html
from tileserver.web.download_routes import download_routes
from tileserver.web.error_page import problem
from tileserver.web.forwarded import base_url, place_below
from tileserver.web.health import status_routes
from tileserver.web.kvp import kvp_routes
from tileserver.web.layer_routes import LayerRoutes
from tileserver.web.middleware import LimitRequests, ResponseHeaders, ResponsePolicy, local_path
from tileserver.web.offers import Offer, offers_of
from tileserver.web.ogc import service_path
from tileserver.web.ogc_api import landing
from tileserver.web.ogc_routes import landing_routes, ogc_routes
from tileserver.web.options import refuse_unknown_options
from tileserver.web.routes import short_routes
from tileserver.web.tile_endpoint import TileEndpoint
from tileserver.web.tilejson import page_config
from tileserver.web.words import VIEWER_FOLDER

logger = logging.getLogger("orthosharp")

# Retry-After of a replaced photograph, in seconds: the server may have to be restarted for it.
SOURCE_CHANGED_RETRY_S: Final = 60


class Problem(BaseModel):
    """Body of an error response: one line that ends with what to do about it."""

    detail: str


# Error responses that any route may give, for the OpenAPI document.
_PROBLEMS: Final = {
    400: "the request is invalid",
    404: "the place, zoom, layer or tile matrix set does not exist",
    413: "the request body is too large",
    422: "a value is malformed or too large",
    500: "an error inside the server, or in the network",
    502: "a block of the photograph cannot be read",
    503: "the server is overloaded; see Retry-After",
}
_NO_STORE: Final = {"Cache-Control": "no-store"}
_NO_ROUTE: Final = "no such address: the map is at /, and /openapi.json lists all addresses"
# Names the media type, for which FastAPI would otherwise document the route's image types.
_PROBLEM: Final = {"application/json": {"schema": Problem.model_json_schema()}}
COMMON_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "no pixel has data, and the format has no transparency"},
    304: {"description": "the entity tag in If-None-Match is current"},
    **{status: {"description": text, "content": _PROBLEM} for status, text in _PROBLEMS.items()},
}


class Application(FastAPI):
    """FastAPI with a short cut: cached tiles are sent before its middleware and routing, which cost more."""

    cached_tiles: ASGIApp | None = None
    # The setting, where the application runs under another ASGI server, which knows no prefix.
    default_root: str = ""
    layer_routes: LayerRoutes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self.default_root and scope["type"] == "http" and not scope.get("root_path"):
            scope = {**scope}
            place_below(scope, self.default_root, is_stripped=False)
        if (
            scope["type"] == "http"
            and scope["query_string"]
            and (path := service_path(scope, local_path(scope)))
        ):
            scope = {**scope, "path": scope.get("root_path", "") + path}
        await (self.cached_tiles or self.route)(scope, receive, send)

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that is not for a cached tile."""
        if self.layer_routes and scope["type"] == "http":
            self.layer_routes.add_for(local_path(scope))
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of all routes."""
        if self.layer_routes:
            self.layer_routes.add_all()
        return super().openapi()


def create_app(
    settings: Settings, service: TileService | None = None, admission: Admission | None = None
) -> FastAPI:
    """Return the web application of one map.

    Args:
        settings: what to serve, and how.
        service: an open service to use; a new one is opened if None. The application closes it in either case.
        admission: limits that are shared with other maps, and closed by the caller; the application's own if None.

    Raises:
        StartError, sr_model.SrModelError: a photograph, the store or the weights cannot be served.
    """
    opened = service or TileService(settings)

    limits = admission or Admission(settings)
    endpoint = TileEndpoint(opened, limits)

    def close() -> None:
        if admission is None:
            limits.close()
        endpoint.close()
        opened.close()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not opened.ready:
            await anyio.to_thread.run_sync(opened.warm_up)
        yield
        await anyio.to_thread.run_sync(close)

    # Swagger's page would fetch scripts from another site; /docs is ours.
    app = Application(
        title="orthosharp", lifespan=lifespan, docs_url=None, redoc_url=None, responses=COMMON_RESPONSES
    )
    app.state.service, app.state.endpoint, app.state.close = opened, endpoint, close
    app.state.is_outdated = lambda: bool(opened.outdated)
    app.state.page_config = partial(page_config, opened)
    app.state.offers = partial(_offers, opened)
    app.state.catalogue = Catalogue({ONLY_MAP: app}, ONLY_MAP)
    app.dependency_overrides.update(safe_crs_dependencies())
    # Versions of titiler that are older than its hook do not know the argument.
    traced: dict[str, Any] = {"enable_telemetry": True} if settings.telemetry else {}
    app.layer_routes = LayerRoutes(app, endpoint, COMMON_RESPONSES, traced)
    app.include_router(short_routes(endpoint))
    app.include_router(kvp_routes(endpoint))
    app.include_router(download_routes(endpoint))
    app.include_router(status_routes(opened))
    app.include_router(catalogue_routes())
    app.include_router(ogc_routes(endpoint), dependencies=[Depends(refuse_unknown_options)])
    app.include_router(landing_routes(endpoint), prefix="/ogcapi")
    app.include_router(
        ogc_routes(endpoint),
        prefix="/ogcapi",
        include_in_schema=False,
        dependencies=[Depends(refuse_unknown_options)],
    )
    add_page(app, lambda base: landing(opened, base))
    add_api_page(app)
    add_error_handlers(app)
    # Middleware added last sees the request first.
    app.add_middleware(LimitRequests, admission=limits)
    policy = ResponsePolicy(settings.cors_origins, settings.frame_ancestors, settings.geocoder)
    app.add_middleware(
        ResponseHeaders,
        policy=policy,
        ai_header=ai_header(opened),
        ai_prefixes=("/tiles/", *(f"/{layer}/" for layer in AI_LAYERS)),
        count=opened.metrics.count_response,
        max_age_s=settings.max_age_s,
    )
    app.default_root = settings.root_path
    app.cached_tiles = CachedTiles(app.route, service=opened, policy=policy)
    return app


def _offers(service: TileService, base: str, prefix: str) -> list[Offer]:
    return offers_of(service, base, service.rasters.layers, "png", prefix)


def add_page(app: FastAPI, landing_page: Callable[[str], Any] | None = None) -> None:
    """Add the page and its files.

    Args:
        app: the application of a map.
        landing_page: makes the landing page of the OGC API of the map's URL, where the map has one.
    """

    @app.get("/", include_in_schema=False)
    def index(request: Request, f: DocumentFormat = None) -> Response:
        """Return the map, or the landing page of the OGC API to those who ask for JSON."""
        vary = {"Vary": "Accept"}
        if landing_page is None or wants_html(request, f, default=HTML):
            return FileResponse(VIEWER_FOLDER / "index.html", headers=vary)
        return JSONResponse(landing_page(base_url(request)), headers=vary)

    app.mount("/viewer", StaticFiles(directory=VIEWER_FOLDER), name="viewer")


def add_error_handlers(app: FastAPI) -> None:
    """Map exceptions to responses that are never cached; `errors.HTTP_STATUS` gives the status.

    `ResponseHeaders` handles all other exceptions.
    """

    async def known(request: Request, error: Exception) -> Response:
        status = next((code for kind, code in HTTP_STATUS if isinstance(error, kind)), 500)
        headers = {"Cache-Control": "no-store"}
        if isinstance(error, OverloadedError):
            headers["Retry-After"] = str(error.retry_after_s)
        elif status >= 500:
            if isinstance(error, SourceChangedError):
                headers["Retry-After"] = str(SOURCE_CHANGED_RETRY_S)
            if isinstance(error, ReadError) and error.place:
                # One line: GDAL's traceback tells no more than file and block.
                logger.error(
                    "%s: a block of the photograph cannot be read: %s", request.url.path, error.place
                )
            else:
                logger.error("%s: %s", request.url.path, error, exc_info=error.__cause__)
        return problem(request.scope, str(error), status, headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return problem(request.scope, f"{place}: {first['msg']}", 422, _NO_STORE)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = {**(error.headers or {}), "Cache-Control": "no-store"}
        # Starlette's default text means that no route matched.
        unrouted = error.status_code == 404 and error.detail == "Not Found"
        detail = _NO_ROUTE if unrouted else str(error.detail)
        return problem(request.scope, detail, error.status_code, headers)

    async def unreadable(request: Request, error: Exception) -> Response:
        logger.warning("rio-tiler refused an image: %s", error)
        return problem(request.scope, "this image cannot be made: use tiles instead", 422, _NO_STORE)

    for kind in (TileServerError, SrModelError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RioTilerError, unreadable)
