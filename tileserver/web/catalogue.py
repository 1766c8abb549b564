"""All maps of a server in one catalogue: for the page, as JSON, and as one WMTS document."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tileserver.tiling.encode import MEDIA_TYPES
from tileserver.web import wmts
from tileserver.web.forwarded import base_url
from tileserver.web.ogc import xml_response

# Key of the ASGI scope with the server's own prefix, without the name of a map.
SERVER_ROOT: Final = "orthosharp.server_root"


@dataclass(frozen=True)
class Catalogue:
    """The maps that were opened together, as one of them sees them.

    Attributes:
        apps: applications by the map's name; each has `page_config` and `offers` in its state.
        own: name of the map that answers.
    """

    apps: Mapping[str, FastAPI]
    own: str

    def root_of(self, name: str, request: Request) -> str:
        """Return the path of a map: the server's if the map is alone, or is the one that was asked at this path."""
        root = str(request.scope.get("root_path", ""))
        if name == self.own or len(self.apps) == 1:
            return root
        return f"{request.scope.get(SERVER_ROOT, root)}/{name}"

    def page(self, request: Request) -> dict[str, Any]:
        """Return the configuration of the page: that of its own map, and of all maps by year and name."""
        root = str(request.scope.get("root_path", ""))
        maps = []
        for name, app in self.apps.items():
            other = self.root_of(name, request)
            address = os.path.relpath(f"{other}/", f"{root}/") if other != root else "."
            maps.append({"id": name, "href": f"{address}/", **app.state.page_config(other)})
        maps.sort(key=lambda one: (one["year"] is None, one["year"] or 0))
        return {"id": self.own, **self.apps[self.own].state.page_config(root), "maps": maps}

    def listed(self, request: Request) -> dict[str, Any]:
        """Return all maps with their layers and addresses, for programs."""
        server = server_url(request)
        maps = []
        for name, app in self.apps.items():
            url = self._url(name, server)
            config = app.state.page_config("")
            layers = [
                {
                    "id": offer.identifier,
                    "title": offer.title,
                    "abstract": offer.abstract,
                    "bounds": list(offer.bounds_lonlat),
                    "media_type": MEDIA_TYPES[offer.extension],
                    "tilejson": f"{url}/{offer.identifier.removeprefix(self._prefix(name))}"
                    f"/{next(iter(offer.grids))}/tilejson.json",
                }
                for offer in app.state.offers(url, self._prefix(name))
            ]
            kept = ("year", "credit", "bounds", "minzoom", "maxzoom")
            maps.append(
                {"id": name, "title": config["name"], **{key: config[key] for key in kept}}
                | {"page": f"{url}/", "layers": layers}
            )
        return {"maps": maps, "wmts": f"{server}/WMTSCapabilities.xml"}

    def capabilities(self, request: Request) -> Response:
        """Return the WMTS document of all layers of all maps."""
        server = server_url(request)
        offers = []
        for name, app in self.apps.items():
            offers += app.state.offers(self._url(name, server), self._prefix(name))
        configs = [app.state.page_config("") for app in self.apps.values()]
        owners = "; ".join(dict.fromkeys(config["credit"] for config in configs if config["credit"]))
        names = ", ".join(config["name"] for config in configs)
        about = wmts.About(configs[0]["name"] if len(configs) == 1 else "orthosharp", names, owners)
        return xml_response(wmts.document(about, offers), "application/xml")

    def _url(self, name: str, server: str) -> str:
        """Return the URL of a map: the server's if the map is alone."""
        return server if len(self.apps) == 1 else f"{server}/{name}"

    def _prefix(self, name: str) -> str:
        """Return what layers' names begin with, so that those of several maps differ."""
        return f"{name}-" if len(self.apps) > 1 else ""


def server_url(request: Request) -> str:
    """Return the URL of the server as its clients see it, without the name of a map."""
    root = str(request.scope.get("root_path", ""))
    return base_url(request).removesuffix(root) + str(request.scope.get(SERVER_ROOT, root))


def catalogue_routes() -> APIRouter:
    """Return `/config.json` of the page, `/maps`, and `/WMTSCapabilities.xml` with all maps."""
    router = APIRouter()

    def of(request: Request) -> Catalogue:
        found: Catalogue = request.app.state.catalogue
        return found

    @router.get("/config.json")
    def config(request: Request) -> JSONResponse:
        return JSONResponse(of(request).page(request))

    @router.get("/maps")
    def maps(request: Request) -> JSONResponse:
        """All maps of the server, with the layers and addresses of each."""
        return JSONResponse(of(request).listed(request))

    @router.get(
        "/WMTSCapabilities.xml",
        response_class=Response,
        responses={200: {"content": {"application/xml": {}}}},
    )
    def capabilities(request: Request) -> Response:
        """All layers of all maps as one WMTS; each has an identifier and a title of its own."""
        return of(request).capabilities(request)

    return router
