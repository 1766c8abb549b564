"""The application: one service, its routes, and what errors mean to a visitor."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from rio_tiler.errors import RioTilerError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from titiler.core.factory import TMSFactory

from sr_model import SrModelError
from tileserver.attribution import AI_LAYERS, ai_header
from tileserver.errors import HTTP_STATUS, OverloadedError, SourceChangedError, TileServerError
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.tiling.layer import supported_tms
from tileserver.web.cached_tiles import CachedTiles
from tileserver.web.middleware import AnswerHeaders, AnswerPolicy, LimitRequests
from tileserver.web.routes import LayerFactory, machine_routes, safe_crs_dependencies, short_routes
from tileserver.web.tile_endpoint import TileEndpoint

logger = logging.getLogger("orthosharp")

# When to ask again for a photograph that somebody has to restart the server for.
RESTART_S: Final = 60
VIEWER: Final = Path(__file__).parents[1] / "viewer"


class Problem(BaseModel):
    """What an error says: one line, which ends with the way out."""

    detail: str


# Every answer that a route may give besides its own, for the OpenAPI document.
_PROBLEMS: Final = {
    400: "the request is wrong",
    404: "there is no such place, zoom, layer or tile matrix set",
    413: "what was sent is too large",
    422: "a value cannot be understood, or is too large",
    500: "an error inside the server, or of the network",
    502: "a block of the photograph cannot be read",
    503: "too much is asked for at the moment; see Retry-After",
}
_NO_ROUTE: Final = "there is nothing at this address: the map is at /, and /openapi.json lists every address"
# With its media type, which FastAPI would else take to be that of the route's pictures.
_PROBLEM: Final = {"application/json": {"schema": Problem.model_json_schema()}}
DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "nothing to show in a format without transparency"},
    304: {"description": "what If-None-Match names is still right"},
    **{status: {"description": text, "content": _PROBLEM} for status, text in _PROBLEMS.items()},
}


class Application(FastAPI):
    """FastAPI, but for cached tiles: they leave before any of its layers, which cost more than they do."""

    warm: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await (self.warm or super().__call__)(scope, receive, send)


def create_app(settings: Settings, service: TileService | None = None) -> FastAPI:
    """Open the photographs and the network, and put them behind HTTP.

    Args:
        settings: what to serve, and how.
        service: one that is open already; closed with the application either way.

    Raises:
        StartError, sr_model.SrModelError: something cannot be served.
    """
    opened = service or TileService(settings)

    endpoint = TileEndpoint.of(opened)

    def close() -> None:
        endpoint.close()
        opened.close()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not opened.ready:
            await anyio.to_thread.run_sync(opened.warm_up)
        yield
        await anyio.to_thread.run_sync(close)

    # Swagger's page would fetch its scripts from elsewhere; /openapi.json stays.
    app = Application(
        title="orthosharp", lifespan=lifespan, docs_url=None, redoc_url=None, responses=DOCUMENTED
    )
    app.state.service, app.state.endpoint, app.state.close = opened, endpoint, close
    app.dependency_overrides.update(safe_crs_dependencies())
    for layer in opened.pictures.layers:
        factory = LayerFactory(endpoint=endpoint, layer=layer, router_prefix=f"/{layer}")
        app.include_router(factory.router, prefix=f"/{layer}", tags=[layer])
    app.include_router(short_routes(endpoint))
    app.include_router(machine_routes(opened))
    app.include_router(TMSFactory(supported_tms=supported_tms()).router)
    _add_page(app)
    _add_error_handlers(app)
    # Starlette wraps in reverse: the last added sees the request first.
    app.add_middleware(LimitRequests, most=settings.max_requests, most_pictures=settings.max_pictures)
    policy = AnswerPolicy(settings.cors_origins)
    app.add_middleware(
        AnswerHeaders,
        policy=policy,
        ai_note=ai_header(opened),
        ai_prefixes=("/tiles/", *(f"/{layer}/" for layer in AI_LAYERS)),
        count=opened.metrics.count_answer,
    )
    app.warm = CachedTiles(partial(FastAPI.__call__, app), service=opened, policy=policy)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(VIEWER / "index.html")

    app.mount("/viewer", StaticFiles(directory=VIEWER), name="viewer")


def _add_error_handlers(app: FastAPI) -> None:
    """One table decides the status; one line says the reason; nothing of it is ever cached.

    Anything else that is raised ends in `AnswerHeaders`.
    """

    async def known(request: Request, error: Exception) -> JSONResponse:
        status = next((code for kind, code in HTTP_STATUS if isinstance(error, kind)), 500)
        headers = {"Cache-Control": "no-store"}
        if isinstance(error, OverloadedError):
            headers["Retry-After"] = str(error.retry_after_s)
        elif status >= 500:
            if isinstance(error, SourceChangedError):
                headers["Retry-After"] = str(RESTART_S)
            logger.error("%s: %s", request.url.path, error, exc_info=error.__cause__)
        return JSONResponse({"detail": str(error)}, status, headers)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"detail": f"{place}: {first['msg']}"}, 422, {"Cache-Control": "no-store"})

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        headers = {**(error.headers or {}), "Cache-Control": "no-store"}
        # Starlette's own words for an address that no route has.
        known = error.status_code != 404 or error.detail != "Not Found"
        return JSONResponse({"detail": str(error.detail) if known else _NO_ROUTE}, error.status_code, headers)

    async def unreadable(_: Request, error: Exception) -> JSONResponse:
        logger.warning("rio-tiler refused a picture: %s", error)
        return JSONResponse(
            {"detail": "this picture cannot be made: ask for tiles"}, 422, {"Cache-Control": "no-store"}
        )

    for kind in (TileServerError, SrModelError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RioTilerError, unreadable)
