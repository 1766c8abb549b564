"""Services on this machine: an XYZ server whose colours tell the place of a tile, and which can be told to fail."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

Fault = Callable[[str, int], tuple[int, dict[str, str]] | None]


@dataclass
class FakeService:
    """A service of tiles at /Z/X/Y.png, with a page at every other path.

    Attributes:
        url: its address.
        asked: how often each path was asked for.
        agents: user agents.
        most: largest number of requests at the same time.
        fault: returns status and headers in place of a tile, by path and how often it was asked for; None for the tile.
        pages: bodies by path.
        last_zoom: the finest.
        image_format: of the tiles.
        draw: returns the tile at zoom, column and row, or None for a gap.
        headers: of all requests.
    """

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    agents: set[str] = field(default_factory=set)
    most: int = 0
    fault: Fault = lambda path, count: None
    pages: dict[str, bytes] = field(default_factory=dict)
    last_zoom: int = 18
    image_format: str = "PNG"
    draw: Callable[[int, int, int], Image.Image | None] = lambda zoom, column, row: tile_image(column, row)
    headers: dict[str, str] = field(default_factory=dict)


def tile_image(column: int, row: int) -> Image.Image:
    """Noise round a colour: red tells the column, green the row."""
    noise = np.random.default_rng((column, row)).integers(-20, 21, (256, 256, 1))
    colour = np.array((60 + 60 * (column % 3), 60 + 60 * (row % 3), 120))
    return Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8))


@contextmanager
def fake_service() -> Iterator[FakeService]:
    """Run a service on a free port."""
    service = FakeService()
    now, lock = [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                now[0] += 1
                service.most = max(service.most, now[0])
                service.asked[self.path] += 1
            service.agents.add(self.headers["User-Agent"])
            service.headers.update(self.headers.items())
            try:
                self._answer()
            finally:
                with lock:
                    now[0] -= 1

        def _answer(self) -> None:
            failed = service.fault(self.path, service.asked[self.path])
            if failed:
                self._send(failed[0], b"", failed[1])
                return
            # As a proxy it is asked for a whole URL.
            path = urlsplit(self.path).path
            if path in service.pages:
                self._send(200, service.pages[path], {"Content-Type": "text/xml"})
                return
            try:
                zoom, column, row = map(int, path.removesuffix(".png").strip("/").split("/"))
            except ValueError:
                self._send(404, b"", {})
                return
            if zoom > service.last_zoom:
                self._send(404, b"", {})
                return
            image = service.draw(zoom, column, row)
            if image is None:
                self._send(404, b"", {})
                return
            body = io.BytesIO()
            image.save(body, service.image_format)
            self._send(200, body.getvalue(), {"Content-Type": "image/png"})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
