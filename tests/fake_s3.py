"""An S3 on this machine that does as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class FakeS3:
    """Its objects by path, and its mood.

    Attributes:
        objects: bytes by path, such as `/bucket/name`.
        puts: how many there were.
        mood: status of a request, by its method and the number of PUTs so far.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    puts: int = 0
    mood: Callable[[str, int], int] = lambda *_: 200


class Handler(BaseHTTPRequestHandler):
    """As much as a new seeding and a cache need: GET, PUT and the first page of a listing."""

    s3: FakeS3

    def do_GET(self) -> None:
        status = self.s3.mood("GET", self.s3.puts)
        path, _, query = self.path.partition("?")
        body = self.listing() if "list-type" in query else self.s3.objects.get(path)
        if status != 200:
            self.answer(status)
        elif body is None:
            self.answer(404)
        else:
            self.answer(200, body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.s3.puts += 1
        status = self.s3.mood("PUT", self.s3.puts)
        if status == 200:
            self.s3.objects[self.path] = body
        self.answer(status)

    def listing(self) -> bytes:
        rows = "".join(
            f"<Contents><Key>{name.split('/', 2)[2]}</Key><Size>{len(body)}</Size>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>1</ETag></Contents>"
            for name, body in sorted(self.s3.objects.items())
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """Serve `s3://bucket` to this process."""
    s3 = FakeS3()
    handler = type("Handler", (Handler,), {"s3": s3})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for name, value in {
            "AWS_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "nowhere",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            monkeypatch.setenv(name, value)
        try:
            yield s3
        finally:
            server.shutdown()
            thread.join()
