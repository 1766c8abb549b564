"""An id for each request, which proxies, the log and the visitor can name it by."""

from __future__ import annotations

import re
import secrets
from typing import Final, cast

from asgi_correlation_id import CorrelationIdMiddleware
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER: Final = "X-Request-ID"
MAX_ID_LENGTH: Final = 128
# Of UUIDs, of nginx's $request_id and of trace ids; nothing that means something in a log, in HTML or in a shell.
_ID: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_ID_LENGTH - 1}}}")


def with_request_ids(app: ASGIApp) -> ASGIApp:
    """Wrap an application: a well-formed X-Request-ID is kept, else one is made; it is sent back with the response."""
    # Our check is the transformer, not the validator, whose every failure the library writes into the log.
    wrapped = CorrelationIdMiddleware(
        app, header_name=REQUEST_ID_HEADER, generator=_new_id, validator=None, transformer=_checked
    )
    return cast("ASGIApp", wrapped)


def without_request_id(app: ASGIApp) -> ASGIApp:
    """Wrap an application behind a proxy that sends the id of a request back by itself: a second one is left out."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)[REQUEST_ID_HEADER]
            await send(message)

        await app(scope, receive, send_without)

    return wrapped


def is_request_id(text: str) -> bool:
    """Return whether a client's or a proxy's id of a request is well-formed, and therefore kept."""
    return _ID.fullmatch(text) is not None


def _checked(request_id: str) -> str:
    return request_id if is_request_id(request_id) else _new_id()


def _new_id() -> str:
    return secrets.token_hex(16)
