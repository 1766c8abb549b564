"""The address at which clients see the server, from what trusted proxies say and from the setting `root_path`."""

from __future__ import annotations

import re
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

TRUSTED_BY_DEFAULT: Final = "127.0.0.1"
# Headers that decide the URLs in documents and redirects, apart from Host.
ADDRESS_HEADERS: Final = "X-Forwarded-Host, X-Forwarded-Prefix, X-Forwarded-Proto"
_HOST: Final = re.compile(rb"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_PREFIX: Final = re.compile(rb"(/[A-Za-z0-9._~-]+)*/?")
_MAX_LENGTH: Final = 255


class ForwardedAddress(ProxyHeadersMiddleware):
    """Obeys X-Forwarded-Host and X-Forwarded-Prefix of trusted proxies, beside what uvicorn's class obeys.

    X-Forwarded-Prefix is what the proxy has removed from the beginning of the path, as Traefik and Spring define it.
    Of several values, the one that the nearest proxy has appended counts. A header of anyone else is ignored.

    Args:
        app: the wrapped application.
        trusted_hosts: addresses of proxies, separated by commas, or `*` for all.
        root_path: prefix of paths where no trusted proxy gives one, such as /maps. Paths may come with or without it.
    """

    def __init__(self, app: ASGIApp, trusted_hosts: str = TRUSTED_BY_DEFAULT, *, root_path: str = "") -> None:
        super().__init__(cast("ProxyHeadersMiddleware", app), trusted_hosts)
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)  # type: ignore[arg-type]
            return
        host = prefix = None
        client = scope.get("client")
        if client and client[0] in self.trusted_hosts:
            host, prefix = _last(scope, b"x-forwarded-host"), _last(scope, b"x-forwarded-prefix")
        for name, value, pattern in (("Host", host, _HOST), ("Prefix", prefix, _PREFIX)):
            if value and (len(value) > _MAX_LENGTH or not pattern.fullmatch(value)):
                detail = f"X-Forwarded-{name} is malformed: the proxy has to set it, and not to pass it on"
                await JSONResponse({"detail": detail}, 400, {"Cache-Control": "no-store"})(
                    scope, receive, send
                )
                return
        if host:
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", host), *others]
        stripped = (prefix or b"").decode().rstrip("/")
        place_below(scope, stripped or self._root_path, is_stripped=bool(stripped))
        await super().__call__(scope, receive, send)  # type: ignore[arg-type]


def base_url(request: Request) -> str:
    """Return the URL at which the client reached the server, without a trailing slash."""
    return str(request.base_url).rstrip("/")


def place_below(scope: Scope, root: str, *, is_stripped: bool) -> None:
    """Tell the application the prefix that clients see, and put it in front of the path, as ASGI wants it.

    Args:
        scope: of the request; changed.
        root: the prefix, such as /maps; empty to do nothing.
        is_stripped: whether a proxy has removed it for certain; otherwise a path that begins with it is left alone.
    """
    path = scope["path"]
    if not root:
        return
    scope["root_path"] = root
    if is_stripped or not (path == root or path.startswith(f"{root}/")):
        scope["path"] = root + path
        scope["raw_path"] = root.encode() + scope.get("raw_path", path.encode())


def _last(scope: Scope, wanted: bytes) -> bytes | None:
    """Return the last value of a header that may be given several times; None if it is not given."""
    values = [value for name, value in scope["headers"] if name == wanted]
    return cast("bytes", values[-1].split(b",")[-1].strip()) if values else None
