"""A collector of OpenTelemetry's spans on loopback."""

from __future__ import annotations

import http.server
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Received:
    """What came, in order: path and body of each request.

    Attributes:
        environment: variables that make a server send its spans here, soon.
    """

    environment: dict[str, str]
    requests: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)

    def wait_for(self, text: bytes) -> tuple[str, bytes]:
        """Return the first request whose body has the text; those before it are dropped."""
        path, body = self.requests.get(timeout=30)
        while text not in body:
            path, body = self.requests.get(timeout=30)
        return path, body


@contextmanager
def collecting() -> Iterator[Received]:
    """Listen for the duration of the block."""

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.requests.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        received = Received(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
            }
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join(30)
