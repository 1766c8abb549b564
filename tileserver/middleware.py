"""Pure-ASGI middleware: what every answer carries, and how many requests may be inside at once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY: Final = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
AI_HEADER: Final = "X-Orthosharp"
_EXPOSED: Final = f"ETag, Cache-Status, Server-Timing, Retry-After, {AI_HEADER}"
# Asked for by machines that watch the server, above all when it is busy.
_ALWAYS_OPEN: Final = frozenset({"/healthz", "/readyz", "/metrics"})


def local_path(scope: Scope) -> str:
    """Path of the request below the prefix that a proxy may have added."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def etag_matches(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names the entity tag; weak comparison, RFC 9110 section 13.1.2."""
    if not header:
        return False
    return header.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in header.split(",")}


@dataclass(frozen=True)
class AnswerHeaders:
    """Gives every answer what its route has not given it: ETag, Cache-Control, Cache-Status, Server-Timing.

    Attributes:
        app: the application.
        ai_note: value of X-Orthosharp for everything below `ai_prefixes`.
        ai_prefixes: paths whose pictures the network made.
        count: told the path and status of every answer.
    """

    app: ASGIApp
    ai_note: str
    ai_prefixes: tuple[str, ...]
    count: Callable[[str, int], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        head: Message | None = None
        body = bytearray()

        async def collect(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body", False) or head is None:
                return
            await self._finish(scope, head, bytes(body), started, send)

        # A HEAD is answered as the GET would be, without its body.
        await self.app({**scope, "method": "GET"} if scope["method"] == "HEAD" else scope, receive, collect)

    async def _finish(self, scope: Scope, head: Message, body: bytes, started: float, send: Send) -> None:
        headers = MutableHeaders(raw=list(head["headers"]))
        status: int = head["status"]
        headers["X-Content-Type-Options"] = "nosniff"
        # Maps on other sites may show the tiles. Simple GETs need no preflight.
        headers["Access-Control-Allow-Origin"] = "*"
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        if status >= 400:
            headers["Cache-Control"] = "no-store"
        else:
            headers.setdefault("Cache-Control", "no-cache")
            if local_path(scope).startswith(self.ai_prefixes):
                headers[AI_HEADER] = self.ai_note
        headers.setdefault("Cache-Status", "orthosharp; fwd=bypass")
        headers.setdefault("Server-Timing", f"total;dur={1000 * (time.perf_counter() - started):.1f}")
        if status == 200 and scope["method"] in ("GET", "HEAD") and "etag" not in headers:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if status == 200 and etag_matches(
            Headers(scope=scope).get("if-none-match"), headers.get("etag", "-")
        ):
            status, body = 304, b""
            for name in ("content-length", "content-type"):
                del headers[name]
        self.count(local_path(scope), status)
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.start", "status": status, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Crowd:
    """How many requests are inside."""

    inside: int = 0


@dataclass(frozen=True)
class LimitRequests:
    """Refuses at once what would only wait in line.

    Attributes:
        app: the application.
        most: requests that may be inside at the same time.
    """

    app: ASGIApp
    most: int
    crowd: Crowd = field(default_factory=Crowd)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http" or local_path(scope) in _ALWAYS_OPEN:
            await self.app(scope, receive, send)
            return
        if self.crowd.inside >= self.most:
            await self._refuse()(scope, receive, send)
            return
        # Only the event loop's thread comes here, so no lock is needed.
        self.crowd.inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.crowd.inside -= 1

    def _refuse(self) -> Response:
        detail = f"{self.most} requests are being answered: try again in a moment"
        return JSONResponse({"detail": detail}, 503, {"Retry-After": "2", "Cache-Control": "no-store"})
