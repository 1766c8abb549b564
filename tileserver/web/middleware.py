"""Pure-ASGI middleware: the headers of every response, and limits on concurrent requests and request bodies."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tileserver.web.admission import Admission
from tileserver.web.compression import accepts_gzip, compressed, may_compress
from tileserver.web.error_page import problem
from tileserver.web.forwarded import ADDRESS_HEADERS
from tileserver.web.request_id import REQUEST_ID_HEADER

logger = logging.getLogger("orthosharp")

AI_HEADER: Final = "X-Orthosharp"
_EXPOSED: Final = f"ETag, Cache-Status, Server-Timing, Retry-After, {AI_HEADER}, {REQUEST_ID_HEADER}"
_CONTENT_SECURITY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; object-src 'none'"
)
_SECURITY: Final = {
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
}
# Routes that make images of any size and shape.
_IMAGE_ROUTE: Final = re.compile(r"/(preview|bbox|point|feature|statistics|map|wms|view)\b")
# Clients send nothing but the GeoJSON of a feature.
MAX_BODY_BYTES: Final = 1_000_000
# Monitoring must get an answer above all when the server is busy.
_UNLIMITED_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})


def local_path(scope: Scope) -> str:
    """Return the request's path without the prefix of a proxy and the map's name."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path


def etag_matches(header: str | None, etag: str) -> bool:
    """Return whether an If-None-Match header names the entity tag; weak comparison (RFC 9110, section 13.1.2)."""
    if not header:
        return False
    return header.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in header.split(",")}


def tag_of_key(header: str | None, digest: str) -> str | None:
    """Return the entity tag in If-None-Match that names a tile's key, if any, whichever host rounded its pixels.

    Args:
        header: value of If-None-Match.
        digest: see `TileKey.digest`.
    """
    tags = (tag.strip().removeprefix("W/") for tag in (header or "").split(","))
    wanted = re.compile(f'"{digest}-[0-9a-f]{{16}}"')
    return next((tag for tag in tags if wanted.fullmatch(tag)), None)


@dataclass(frozen=True)
class ResponsePolicy:
    """Security and CORS headers, which every response carries.

    Attributes:
        origins: origins whose pages may read the tiles, such as https://map.example; `*` for all.
        frame_ancestors: origins whose pages may show the map in a frame; `*` for all, `self`, or `none`.
        geocoder: address that the page asks for places, if any.
    """

    origins: tuple[str, ...] = ("*",)
    frame_ancestors: tuple[str, ...] = ("*",)
    geocoder: str | None = None

    @cached_property
    def security(self) -> Mapping[str, str]:
        """Headers that restrict what a browser does with a response."""
        ancestors = [f"'{name}'" if name in ("self", "none") else name for name in self.frame_ancestors]
        asked = ""
        if self.geocoder:
            parts = urlsplit(self.geocoder)
            asked = f"; connect-src 'self' {parts.scheme}://{parts.netloc}"
        framed = f"; frame-ancestors {' '.join(ancestors)}"
        return {"Content-Security-Policy": _CONTENT_SECURITY + asked + framed, **_SECURITY}

    def preflight(self, origin: str | None) -> Response:
        """Return the answer to an OPTIONS request, which asks what a page of `origin` may send."""
        answer = Response(status_code=204, headers={"Allow": _METHODS, **self.security})
        answer.raw_headers.extend(self.cors(origin))
        if "access-control-allow-origin" in answer.headers:
            # `*` does not include Authorization.
            answer.headers["Access-Control-Allow-Headers"] = "*, Authorization"
            answer.headers["Access-Control-Allow-Methods"] = _METHODS
            answer.headers["Access-Control-Max-Age"] = "86400"
        return answer

    def cors(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """Return raw CORS headers for a request from a page of `origin`; a plain GET needs no preflight."""
        if "*" in self.origins:
            return [_ANY_ORIGIN, _EXPOSE]
        if origin is None or origin not in self.origins:
            return [_VARY]
        return [(b"access-control-allow-origin", origin.encode("latin-1")), _VARY, _EXPOSE]


_METHODS: Final = "GET, HEAD, POST, OPTIONS"
_ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")
_VARY: Final = (b"vary", b"Origin")
_EXPOSE: Final = (b"access-control-expose-headers", _EXPOSED.encode())


@dataclass(frozen=True)
class ResponseHeaders:
    """Adds the headers that a route has not set: ETag, Cache-Control, Cache-Status, Server-Timing, X-Orthosharp.

    Attributes:
        app: the wrapped application.
        policy: headers of all responses.
        ai_header: value of X-Orthosharp for paths below `ai_prefixes`.
        ai_prefixes: prefixes of paths whose pixels come from the network.
        count: called with the path and status of every response.
        max_age_s: how long pictures may be kept, as tiles may.
    """

    app: ASGIApp
    policy: ResponsePolicy
    ai_header: str
    ai_prefixes: tuple[str, ...]
    count: Callable[[str, int], None]
    max_age_s: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await self.policy.preflight(Headers(scope=scope).get("origin"))(scope, receive, send)
            return
        started = time.perf_counter()
        head: Message | None = None
        body = bytearray()
        answered = False

        async def collect(message: Message) -> None:
            nonlocal head, answered
            if message["type"] == "http.response.start":
                head = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body", False) or head is None:
                return
            answered = True
            await self._finish(scope, head, bytes(body), started, send)

        # HEAD is answered like GET, without the body.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self.app(inner, receive, collect)
        except Exception:
            # The log has the traceback; the client learns nothing about internals.
            logger.exception("%s", local_path(scope))
            if not answered:
                head, body = None, bytearray()
                failure = problem(scope, "an error inside the server: see its log", 500)
                await failure(inner, receive, collect)

    async def _finish(self, scope: Scope, head: Message, body: bytes, started: float, send: Send) -> None:
        headers = MutableHeaders(raw=list(head["headers"]))
        status: int = head["status"]
        headers.update(self.policy.security)
        headers.raw.extend(self.policy.cors(Headers(scope=scope).get("origin")))
        if status >= 400:
            headers["Cache-Control"] = "no-store"
        else:
            if scope["method"] in ("GET", "HEAD") and _IMAGE_ROUTE.search(local_path(scope)):
                headers.setdefault("Cache-Control", f"public, max-age={self.max_age_s}")
            headers.setdefault("Cache-Control", "no-cache")
            if _may_contain_urls(status, headers):
                headers.add_vary_header(ADDRESS_HEADERS)
            if local_path(scope).startswith(self.ai_prefixes):
                headers.setdefault(AI_HEADER, self.ai_header)
        headers.setdefault("Cache-Status", "orthosharp; fwd=bypass")
        headers.setdefault("Server-Timing", f"total;dur={1000 * (time.perf_counter() - started):.1f}")
        cacheable = status == 200 and headers["Cache-Control"] != "no-store"
        if cacheable and scope["method"] in ("GET", "HEAD") and "etag" not in headers:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        asked = Headers(scope=scope)
        # A part of a file is counted in the bytes of the file.
        if status != 206 and may_compress(headers, body):
            headers.add_vary_header("Accept-Encoding")
            if accepts_gzip(asked.get("accept-encoding", "")):
                body = compressed(body)
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(body))
                # The same document in two encodings is two sequences of bytes.
                if tag := headers.get("etag", ""):
                    headers["ETag"] = f'{tag.removesuffix(chr(34))}-gzip"'
        if status == 200 and etag_matches(asked.get("if-none-match"), headers.get("etag", "-")):
            status, body = 304, b""
            for name in ("content-length", "content-type", "content-encoding"):
                del headers[name]
        self.count(local_path(scope), status)
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.start", "status": status, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})


def _may_contain_urls(status: int, headers: MutableHeaders) -> bool:
    """Return whether an answer may contain URLs of the server, which depend on what a proxy says of its address."""
    kind = headers.get("content-type", "")
    return 300 <= status < 400 or kind.startswith("text/html") or "json" in kind or "xml" in kind


def _too_large() -> HTTPException:
    return HTTPException(413, f"a request body has at most {MAX_BODY_BYTES} bytes: simplify the feature")


def _bounded(receive: Receive) -> Receive:
    """Wrap `receive` so that it raises once the body is too large, whatever Content-Length says."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return bounded


@dataclass(frozen=True)
class LimitRequests:
    """Refuses requests beyond a limit, and bodies that are too large; lets pictures wait for a place, within bounds.

    Attributes:
        app: the wrapped application.
        admission: the server's limits, shared by all maps.
    """

    app: ASGIApp
    admission: Admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http" or local_path(scope) in _UNLIMITED_PATHS:
            await self.app(scope, receive, send)
            return
        requests, pictures = self.admission.requests, self.admission.pictures
        if requests.count >= requests.limit:
            await _busy(scope, requests.limit)(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > MAX_BODY_BYTES:
            too_large = JSONResponse({"detail": _too_large().detail}, 413)
            await too_large(scope, receive, send)
            return
        is_picture = bool(_IMAGE_ROUTE.search(local_path(scope)))
        # Only the event loop's thread runs this, so no lock is needed.
        requests.count += 1
        try:
            if is_picture and not await pictures.enter():
                await _busy(scope, pictures.limit)(scope, receive, send)
                return
            try:
                await self.app(scope, _bounded(receive), send)
            finally:
                if is_picture:
                    pictures.leave()
        finally:
            requests.count -= 1


def _busy(scope: Scope, limit: int) -> Response:
    detail = f"the server is answering {limit} requests of this kind, its limit: try again in a moment"
    return problem(scope, detail, 503, {"Retry-After": "2", "Cache-Control": "no-store"})
