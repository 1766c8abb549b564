"""Routes that say how the server is: health, readiness and metrics."""

from __future__ import annotations

from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse

from tileserver.service import TileService
from tileserver.web.patience import PatientCall

# How long the state of the photograph's files may take to find out.
_DISK_S: Final = 2.0


def status_routes(service: TileService) -> APIRouter:
    """Return the routes for health, readiness and metrics."""
    router = APIRouter()
    outdated = PatientCall(lambda: service.outdated)

    @router.get("/healthz")
    async def healthz() -> dict[str, Literal["ok"]]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        try:
            reason = await outdated.result(_DISK_S)
        except TimeoutError:
            reason = "the storage of the photograph does not respond"
        if reason:
            return JSONResponse({"detail": reason}, 503)
        if service.ready:
            return JSONResponse({"status": "ready", "runtime": service.restorer.runtime})
        return JSONResponse(
            {"detail": "the network is warming up: ask again in a moment"}, 503, {"Retry-After": "1"}
        )

    # On the event loop, because all threads may be busy.
    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(service.metrics.exposition(), media_type="text/plain; version=0.0.4")

    return router
