"""Limits of the HTTP parser and of connections, which apply before a request reaches the application.

uvicorn leaves them to a reverse proxy: by itself it keeps headers of any size, parses all requests that a client sends
at once before it does anything else, and waits for ever for the rest of a request, for a client that does not read its
answer, and for connections that send nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

RawHeaders = list[tuple[bytes, bytes]]
# Target, headers, and headers to add; head and body of the answer, or None.
Instant = Callable[[bytes, RawHeaders, RawHeaders], tuple[bytes, bytes] | None]

# Names and values of all headers, and the request line.
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_URL_BYTES: Final = 8 * 1024
# From a connection's beginning, or a request's first byte, to the request's last.
REQUEST_S: Final = 20.0
# How long a client may leave its answer unread.
UNREAD_S: Final = 30.0
# Of a header, beside its name and value: colon, space and line end.
_HEADER_EXTRA_BYTES: Final = 4
# Ends a head, and a chunked body.
_HEAD_END: Final = b"\r\n\r\n"
# Requests behind others of their connection that are parsed in one turn of the event loop.
_PER_TURN: Final = 4


class Turns:
    """Turns of the event loop for requests that clients sent before the answer to an earlier one.

    A few of them are parsed in each turn, so that clients that send one request at a time wait behind no others.
    """

    def __init__(self) -> None:
        self._waiting: deque[BoundedProtocol] = deque()
        self._is_scheduled = False

    def add(self, connection: BoundedProtocol) -> None:
        """Let a connection parse its next request in one of the next turns."""
        self._waiting.append(connection)
        self._schedule(connection.loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._take, loop)

    def _take(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = False
        taken = [self._waiting.popleft() for _ in range(min(_PER_TURN, len(self._waiting)))]
        if self._waiting:
            self._schedule(loop)
        for connection in taken:
            connection.parse_next()


class ConnectionLimits:
    """Connections by address. Beyond a limit, one that is idle is closed: never one that waits for an answer.

    Args:
        per_address: connections that one address may hold, if some of them are idle.
        in_all: connections that all addresses may hold together, if some of them are idle.

    Attributes:
        turns: of their requests.
    """

    def __init__(self, per_address: int, in_all: int) -> None:
        self._per_address = per_address
        self._in_all = in_all
        self.turns = Turns()
        self._by_address: dict[str, dict[BoundedProtocol, None]] = {}
        self._count = 0

    def add(self, connection: BoundedProtocol) -> None:
        """Note a new connection, and close an idle one if there are too many."""
        own = self._by_address.setdefault(connection.address, {})
        own[connection] = None
        self._count += 1
        if len(own) > self._per_address:
            self._close_idle(own, connection)
        elif self._count > self._in_all:
            # Of the address with the most: many connections of one do not push out the few of another.
            self._close_idle(max(self._by_address.values(), key=len), connection)

    def remove(self, connection: BoundedProtocol) -> None:
        """Forget a connection."""
        own = self._by_address.get(connection.address, {})
        if connection in own:
            del own[connection]
            self._count -= 1
            if not own:
                del self._by_address[connection.address]

    def _close_idle(self, connections: dict[BoundedProtocol, None], new: BoundedProtocol) -> None:
        for connection in connections:
            if connection.is_idle and connection is not new:
                # At once: the end of the connection is reported later.
                self.remove(connection)
                connection.transport.close()
                return


class _HeldFlow(FlowControl):
    """Flow control of uvicorn that reads nothing while what was read is still to be parsed."""

    is_held = False

    def hold_reading(self) -> None:
        """Pause, and let nothing but `release_reading` end that."""
        self.is_held = True
        self.pause_reading()

    def release_reading(self) -> None:
        """Go on."""
        if self.is_held:
            self.is_held = False
            self.resume_reading()

    def resume_reading(self) -> None:
        """Go on, unless reading is held."""
        if not self.is_held:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits; use a subclass that has its own `limits` (see `bounded_protocol`).

    A connection has one request at a time. Those that a client sends before the answer to an earlier one are parsed
    when that is complete, in a later turn of the event loop (`Turns`): between any two, other connections have theirs.
    """

    flow: _HeldFlow

    limits: ClassVar[ConnectionLimits]
    # Answers what needs no application; see `InstantTiles.answer`.
    instant: ClassVar[Instant | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.address = ""
        self._timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._is_in_head = False
        self._is_whole = True
        self._began = False
        # Of the head, or after it of what is not the body: extensions of chunks, and the headers that may follow it.
        self._head_bytes = 0
        self._refusal: tuple[int, str] | None = None
        # What was read and is still to be parsed, from the given byte on.
        self._received, self._begin = b"", 0
        self._is_scheduled = False
        # Set by a refusal behind a request that is still to be answered: nothing after that is read.
        self._is_deaf = False
        self._is_answered = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered, and none has been read."""
        return not self._is_answering and not self._received

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.flow = _HeldFlow(transport)
        self.address = self.client[0] if self.client else ""
        self.limits.add(self)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.limits.remove(self)
        self._stop_timer()
        self._stop_unread_timer()
        self._drop_received()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the first request, and keep what follows it."""
        if self._is_deaf:
            return
        self._received += data
        if not self._is_scheduled:
            self.parse_next()

    def parse_next(self) -> None:
        """Parse up to the end of the next head, unless an earlier request is still to be answered."""
        self._is_scheduled = False
        if not self._received or self.transport.is_closing():
            self._drop_received()
            return
        if self._is_whole and self._is_answering:
            self.flow.hold_reading()
            return
        received, begin = self._received, self._begin
        found = received.find(_HEAD_END, begin)
        end = len(received) if found < 0 else found + len(_HEAD_END)
        if end == len(received):
            self._drop_received()
        else:
            self._begin = end
        self._parse(received[begin:end])
        if self.transport.is_closing() or self._is_deaf:
            self._drop_received()
        elif self._received:
            self.flow.hold_reading()
            self._schedule()
        else:
            self.flow.release_reading()

    def _schedule(self) -> None:
        """Parse the next request in one of the next turns of the event loop."""
        if self._received and not self._is_scheduled:
            self._is_scheduled = True
            self.limits.turns.add(self)

    def _drop_received(self) -> None:
        self._received, self._begin = b"", 0

    def _parse(self, data: bytes) -> None:
        """Pass data on to the parser, as long as a request is not too large and does not take too long."""
        self._began = False
        super().data_received(data)
        if self._is_whole:
            self._stop_timer()
            return
        # The parser keeps a header until it ends, so what has arrived is counted, from the chunk after the first on,
        # and after the head from the last part of the body on.
        if not self._began:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refusal = _LARGE_HEAD
                self.send_400_response("")
        if self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._is_whole, self._is_in_head, self._began, self._head_bytes = False, True, True, 0

    def on_url(self, url: bytes) -> None:
        """Check the length of the request line."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._refuse(_LONG_URL)

    def on_headers_complete(self) -> None:
        """Check the size of the headers, and pass the request on."""
        if sum(len(name) + len(value) + _HEADER_EXTRA_BYTES for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse(_LARGE_HEAD)
        self._is_in_head, self._began, self._head_bytes = False, True, 0
        self._is_answered = self._answered_at_once()
        if not self._is_answered:
            super().on_headers_complete()

    def _answered_at_once(self) -> bool:
        """Answer a request for which no application is needed; return whether it was one."""
        instant, parser = type(self).instant, self.parser
        if (
            instant is None
            or self._is_answering
            # Behind an answer that the client has not read.
            or self.flow.write_paused
            or parser.get_method() != b"GET"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
        ):
            return False
        answer = instant(self.url, self.headers, self.server_state.default_headers)
        if answer is None:
            return False
        self.transport.writelines(answer)
        self.on_response_complete()
        return True

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on, which the application bounds."""
        self._began, self._head_bytes = True, 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request has arrived."""
        self._is_whole = True
        if not self._is_answered:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse the request, with the status of the limit that it exceeds, and close the connection.

        Behind a request that is still to be answered, it is closed after that: an answer before its own would be taken
        for its own. (Such a refusal is of a request that begins in the data that ends the body of the one before.)
        """
        status, text = self._refusal or (400, msg)
        if self.transport.is_closing():
            return
        if self._is_in_head and self._is_answering:
            self._is_deaf, self.cycle.keep_alive = True, False
            self.flow.hold_reading()
            return
        if not self._is_in_head and self.cycle is not None and self.cycle.response_started:
            # The request was answered before its end, or is being answered: nothing fits behind that.
            self.transport.close()
            return
        body = text.encode()
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing of visitors who ask for WebSockets, where uvicorn advises to install a library."""

    def on_response_complete(self) -> None:
        """Begin to answer the next request."""
        super().on_response_complete()
        self._schedule()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """End that wait."""
        self._stop_unread_timer()
        super().resume_writing()

    def _refuse(self, refusal: tuple[int, str]) -> None:
        """Stop the parser, which makes of it a call of `send_400_response`."""
        self._refusal = refusal
        raise ValueError(refusal[1])

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(REQUEST_S, self._is_too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _is_too_slow(self) -> None:
        self._timer = None
        if self._is_answering and not self.cycle.more_body:
            # An answer is being made, and the next request was begun meanwhile.
            self._start_timer()
            return
        if self._is_answering or self._is_in_head:
            self._refusal = _TOO_SLOW
            self.send_400_response("")
        self.transport.close()


_LARGE_HEAD: Final = (431, f"the request's headers exceed {MAX_HEAD_BYTES} bytes")
_LONG_URL: Final = (414, f"the request's address exceeds {MAX_URL_BYTES} bytes")
_TOO_SLOW: Final = (408, f"the request was not complete within {REQUEST_S:g} s")


def bounded_protocol(limits: ConnectionLimits, instant: Instant | None = None) -> type[BoundedProtocol]:
    """Return a protocol class for uvicorn's option `http`.

    Args:
        limits: of its connections.
        instant: answers what needs no application, see `tileserver.web.instant_tiles.InstantTiles.answer`.
    """
    own = {"limits": limits, "instant": None if instant is None else staticmethod(instant)}
    return type("LimitedProtocol", (BoundedProtocol,), own)
