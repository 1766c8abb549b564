"""Limits before the application: sizes of requests, slow senders and readers, and idle connections."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tileserver.web import connections
from tileserver.web.connections import ConnectionLimits, Instant, RawHeaders, bounded_protocol

LARGE = b"x" * 64_000_000
SLOW = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body; /large with a body that no buffer takes; /slow and /held after a while."""
    if scope["type"] == "lifespan":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.05)
    if scope["path"] == "/held":
        await asyncio.sleep(2)
    text = LARGE if scope["path"] == "/large" else str(len(body)).encode()
    length = str(len(text)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": text})


@contextmanager
def running(per_address: int = 100, in_all: int = 100, instant: Instant | None = None) -> Iterator[int]:
    """Run the application under uvicorn with our protocol; yields the port."""
    protocol = bounded_protocol(ConnectionLimits(per_address, in_all), instant)
    config = uvicorn.Config(application, http=protocol, ws="none", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running() as found:
        yield found


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))


def answer(connection: socket.socket) -> bytes:
    """Return all that is answered until the server closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            received += part
    return received


def ask(port: int, request: bytes) -> bytes:
    with connect(port) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
        return answer(connection)


def test_usual_requests_are_answered(port: int) -> None:
    head = (
        b"GET /tile HTTP/1.1\r\nhost: test\r\nconnection: close\r\n"
        + b"cookie: "
        + b"c" * 60_000
        + b"\r\n\r\n"
    )
    assert ask(port, head).endswith(b"\r\n\r\n0")
    post = b"POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 500000\r\n\r\n" + bytes(
        500_000
    )
    assert ask(port, post).endswith(b"\r\n\r\n500000")
    twice = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" + b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    assert ask(port, twice).count(b"200 OK") == 2
    assert b" 400 " in ask(port, b"nonsense\r\n\r\n").splitlines()[0]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\nhost: test\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"x: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"x: a\r\n" * 12_000 + b"\r\n", b"431"),
    ],
)
def test_large_heads_are_refused(port: int, request_: bytes, status: bytes) -> None:
    assert status in ask(port, request_).split(b"\r\n")[0]


def test_endless_headers_are_cut_off_early(port: int) -> None:
    """One header, and many: neither may fill the memory."""
    for part in (b"a" * 1000, b"x: " + b"a" * 1000 + b"\r\n"):
        with connect(port) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nx: ")
            sent = 0
            with suppress(BrokenPipeError, ConnectionResetError):
                while sent < 20_000_000:
                    connection.sendall(part)
                    sent += len(part)
            # Beside the limit, what the buffers of two sockets take.
            assert sent < 10_000_000


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nx: a\r\n", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nab"],
)
def test_slow_senders_are_closed(port: int, begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.3)
    with connect(port) as connection:
        connection.sendall(begun)
        assert answer(connection).startswith(b"HTTP/1.1 408" if begun else b"")
    # Byte by byte is not faster.
    with connect(port) as connection, suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(1000):
            connection.sendall(b"G" if not begun else b"a")
            time.sleep(0.05)
        raise AssertionError("a slow sender was not closed")


def test_clients_that_do_not_read_are_closed(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.2)
    with connect(port) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n")
        time.sleep(1)
        assert len(answer(connection)) < len(LARGE)


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(5)
    try:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        return connection.recv(100).startswith(b"HTTP/1.1 200")
    except (BrokenPipeError, ConnectionResetError):
        return False


def test_idle_connections_of_one_address_are_bounded() -> None:
    with running(per_address=3) as port, ExitStack() as stack:
        held = [stack.enter_context(connect(port)) for _ in range(5)]
        assert is_open(held[-1])
        assert [is_open(connection) for connection in held] == [False, False, True, True, True]


def test_idle_connections_of_one_address_do_not_push_out_those_of_another() -> None:
    with running(in_all=4) as port, ExitStack() as stack:
        modest = stack.enter_context(connect(port, "127.0.0.2"))
        assert is_open(modest)
        greedy = [stack.enter_context(connect(port)) for _ in range(8)]
        late = stack.enter_context(connect(port, "127.0.0.3"))
        assert is_open(late)
        assert is_open(modest)
        assert sum(map(is_open, greedy)) == 2


def test_a_connection_that_waits_for_its_answer_is_never_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(per_address=1) as port, ExitStack() as stack:
        waiting = stack.enter_context(connect(port))
        waiting.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na")
        time.sleep(0.2)
        others = [stack.enter_context(connect(port)) for _ in range(3)]
        assert is_open(others[-1])
        waiting.sendall(b"bc")
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("part", [b"x: " + b"a" * 100 + b"\r\n", b"a" * 60_000], ids=["many", "one"])
def test_endless_headers_after_a_chunked_body_are_cut_off_early(port: int, part: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"
    sent = 0
    with connect(port) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head + (b"" if part.endswith(b"\n") else b"x: "))
            while sent < 50_000_000:
                connection.sendall(part * (60_000 // len(part)))
                sent += 60_000
        answer(connection)
    # What the kernel's buffers hold on loopback has been sent as well.
    assert sent < 20_000_000


def test_a_chunked_body_with_headers_after_it_is_taken(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"1000;name=value\r\n" + b"b" * 4096 + b"\r\n"
    assert ask(port, head + 100 * body + b"0\r\nx-sum: 12\r\n\r\n").endswith(b"\r\n\r\n409600")


def test_requests_that_are_sent_at_once_are_all_answered_one_after_the_other(port: int) -> None:
    sent = b"".join(b"GET /%s HTTP/1.1\r\nhost: a\r\n\r\n" % path for path in 10 * [b"slow", b"", b"fast"])
    sent += b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n" + bytes(300_000)
    answers = ask(port, sent + b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert [part[-1:] for part in answers.split(b"HTTP/1.1 200 OK")[1:]] == 32 * [b"0"]
    assert answers.count(b"300000") == 1


def test_nothing_is_read_behind_a_request_that_waits_for_its_answer(port: int) -> None:
    """A client that floods the connection meanwhile costs nothing."""
    with connect(port) as connection:
        connection.sendall(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n")
        connection.setblocking(False)
        flood = 5000 * b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
        sent, end = 0, time.monotonic() + 1
        while sent < 20_000_000 and time.monotonic() < end:
            with suppress(BlockingIOError):
                sent += connection.send(flood)
    # What the kernel's buffers hold on loopback has been sent as well.
    assert sent < 20_000_000


@pytest.mark.parametrize("at_once", [False, True], ids=["application", "instant"])
def test_another_client_has_its_turn_between_requests_that_one_sends_at_once(at_once: bool) -> None:
    """However many there are, and whether or not the application is needed for them."""
    order: list[bytes] = []
    has_begun, may_go_on = threading.Event(), threading.Event()

    def instant(url: bytes, headers: RawHeaders, own: RawHeaders) -> tuple[bytes, bytes] | None:
        order.append(url)
        if len(order) == 1:
            # The loop waits here until both clients have sent everything.
            has_begun.set()
            assert may_go_on.wait(30)
        return (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"") if at_once else None

    flood = 2000
    with running(instant=instant) as port, connect(port) as greedy, connect(port) as modest:
        assert not order
        greedy.sendall(flood * b"GET /flood HTTP/1.1\r\nhost: a\r\n\r\n")
        assert has_begun.wait(30)
        modest.sendall(b"GET /modest HTTP/1.1\r\nhost: a\r\n\r\n")
        may_go_on.set()
        assert modest.recv(1000).startswith(b"HTTP/1.1 200")
        received = b""
        while received.count(b"HTTP/1.1 200") < flood and (part := greedy.recv(2**20)):
            received += part
    assert received.count(b"HTTP/1.1 200") == flood
    assert order.index(b"/modest") < 20


@pytest.mark.parametrize("refused", [b"nonsense\r\n\r\n", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n"])
def test_a_refusal_comes_after_an_earlier_answer(port: int, refused: bytes) -> None:
    """The client would take it for that answer."""
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", ask(port, SLOW + refused))
    assert statuses == [b"200", b"400" if refused.startswith(b"n") else b"414"]
    # Behind a body nothing tells the two apart before they are parsed: there is no refusal then, and never a wrong one.
    posted = b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
    answers = ask(port, posted + refused)
    assert answers.startswith(b"HTTP/1.1 200 OK")
    assert answers.count(b"HTTP/1.1") == 1


def test_a_later_request_is_refused_with_a_status(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HTTP/1.1\r\n" + b"x: a\r\n" * 12_000 + b"\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 431")


def test_a_request_for_websockets_is_answered_without_advice_in_the_log(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n"
    with caplog.at_level("INFO", logger="uvicorn.error"):
        assert ask(port, head).startswith(b"HTTP/1.1 200")
    assert "WebSocket" not in caplog.text
