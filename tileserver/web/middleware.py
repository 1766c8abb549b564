"""Pure-ASGI middleware: what every answer carries, and how many requests may be inside at once."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("orthosharp")

AI_HEADER: Final = "X-Orthosharp"
_EXPOSED: Final = f"ETag, Cache-Status, Server-Timing, Retry-After, {AI_HEADER}"
_SECURITY: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; object-src 'none'",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
}
# Pictures of any size and shape.
_PICTURE: Final = re.compile(r"/(preview|bbox|point|feature|statistics)\b")
# GeoJSON of a feature is the only thing that visitors send.
MAX_BODY_BYTES: Final = 1_000_000
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
class AnswerPolicy:
    """Headers that every answer carries, whoever makes it.

    Attributes:
        origins: sites whose pages may read the pictures, such as https://map.example; `*` for all.
    """

    origins: tuple[str, ...] = ("*",)

    @property
    def security(self) -> Mapping[str, str]:
        """What tells a browser to be careful."""
        return _SECURITY

    def cors(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """Raw CORS headers for a request from a page of `origin`. Simple GETs need no preflight."""
        if "*" in self.origins:
            return [_ANY_ORIGIN, _EXPOSE]
        if origin is None or origin not in self.origins:
            return [_VARY]
        return [(b"access-control-allow-origin", origin.encode("latin-1")), _VARY, _EXPOSE]


_ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")
_VARY: Final = (b"vary", b"Origin")
_EXPOSE: Final = (b"access-control-expose-headers", _EXPOSED.encode())


@dataclass(frozen=True)
class AnswerHeaders:
    """Gives every answer what its route has not given it: ETag, Cache-Control, Cache-Status, Server-Timing.

    Attributes:
        app: the application.
        policy: headers of all answers.
        ai_note: value of X-Orthosharp for everything below `ai_prefixes`.
        ai_prefixes: paths whose pictures the network made.
        count: told the path and status of every answer.
    """

    app: ASGIApp
    policy: AnswerPolicy
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

        # A HEAD is answered as the GET would be, without its body.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self.app(inner, receive, collect)
        except Exception:
            # The log has the traceback; the visitor gets no internals.
            logger.exception("%s", local_path(scope))
            if not answered:
                head, body = None, bytearray()
                failure = JSONResponse({"detail": "an error inside the server: see its log"}, 500)
                await failure(inner, receive, collect)

    async def _finish(self, scope: Scope, head: Message, body: bytes, started: float, send: Send) -> None:
        headers = MutableHeaders(raw=list(head["headers"]))
        status: int = head["status"]
        headers.update(self.policy.security)
        headers.raw.extend(self.policy.cors(Headers(scope=scope).get("origin")))
        if status >= 400:
            headers["Cache-Control"] = "no-store"
        else:
            headers.setdefault("Cache-Control", "no-cache")
            if local_path(scope).startswith(self.ai_prefixes):
                headers.setdefault(AI_HEADER, self.ai_note)
        headers.setdefault("Cache-Status", "orthosharp; fwd=bypass")
        headers.setdefault("Server-Timing", f"total;dur={1000 * (time.perf_counter() - started):.1f}")
        keepable = status == 200 and headers["Cache-Control"] != "no-store"
        if keepable and scope["method"] in ("GET", "HEAD") and "etag" not in headers:
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


def _too_large() -> HTTPException:
    return HTTPException(413, f"at most {MAX_BODY_BYTES} bytes can be sent: simplify the feature")


def _bounded(receive: Receive) -> Receive:
    """Lets no longer body through, whatever its Content-Length says."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return bounded


@dataclass
class Crowd:
    """How many requests are inside."""

    inside: int = 0


@dataclass(frozen=True)
class LimitRequests:
    """Refuses at once what would only wait in line, and bodies that are too large.

    Attributes:
        app: the application.
        most: requests that may be inside at the same time.
        most_pictures: those of them that make a picture of any size, which costs far more than a tile.
    """

    app: ASGIApp
    most: int
    most_pictures: int
    crowd: Crowd = field(default_factory=Crowd)
    pictures: Crowd = field(default_factory=Crowd)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http" or local_path(scope) in _ALWAYS_OPEN:
            await self.app(scope, receive, send)
            return
        crowds = [(self.crowd, self.most)]
        if _PICTURE.search(local_path(scope)):
            crowds.append((self.pictures, self.most_pictures))
        for crowd, most in crowds:
            if crowd.inside >= most:
                await _full(most)(scope, receive, send)
                return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > MAX_BODY_BYTES:
            too_large = JSONResponse({"detail": _too_large().detail}, 413)
            await too_large(scope, receive, send)
            return
        # Only the event loop's thread comes here, so no lock is needed.
        for crowd, _ in crowds:
            crowd.inside += 1
        try:
            await self.app(scope, _bounded(receive), send)
        finally:
            for crowd, _ in crowds:
                crowd.inside -= 1


def _full(most: int) -> Response:
    detail = f"{most} such requests are being answered: try again in a moment"
    return JSONResponse({"detail": detail}, 503, {"Retry-After": "2", "Cache-Control": "no-store"})
