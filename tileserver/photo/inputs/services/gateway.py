"""Between GDAL's WMS driver and a service: a server on this machine that answers with decoded tiles.

GDAL's driver does not try again, does not know Retry-After, and counts its connections per dataset. So it asks here:
this server asks the service politely, keeps what it sent, answers 404 where there is no photograph, and passes faults
on as faults, so that they are never taken for a gap.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from cachetools import LRUCache, TTLCache
from PIL import Image

from tileserver.photo.inputs.services.client import DEADLINE_S, PoliteClient, ServiceFault
from tileserver.photo.inputs.services.images import MOST_IMAGE_BYTES, ImageFault, decode, is_gap
from tileserver.photo.inputs.services.levels import Level

logger = logging.getLogger("orthosharp")

# Memory for tiles as the service sent them, and for which there are none; GDAL keeps decoded blocks besides.
CACHE_BYTES: Final = 64 * 2**20
_GAP_BYTES: Final = 64
# A tile that failed fails again at once for so long: readers try twice.
_FAILED_S: Final = 3.0
_MOST_FAILED: Final = 4096
# One fault is logged in so long: while a service is away, every tile fails.
_LOG_S: Final = 5.0
# GDAL waits longer than the client, which has the last word.
GDAL_TIMEOUT_S: Final = DEADLINE_S + 15
_LOOPBACK: Final = "127.0.0.1"


class Gateway:
    """Serves the tiles of some levels on a free port of this machine; it exists until it is closed.

    Args:
        client: asks the service; closed with the gateway.
        levels: their numbers are part of the URLs.

    Attributes:
        url: where GDAL finds it; a random part keeps others on this machine out.
        last_fault: the latest reason why a tile could not be had; empty if there was none.
        last_status: the HTTP status that goes with it, 504 where there was no answer; 0 if there was none.
    """

    def __init__(self, client: PoliteClient, levels: Sequence[Level]) -> None:
        self._client, self._levels = client, tuple(levels)
        self._cache: LRUCache[str, bytes] = LRUCache(CACHE_BYTES, lambda body: len(body) + _GAP_BYTES)
        self._failed: TTLCache[str, ServiceFault] = TTLCache(_MOST_FAILED, _FAILED_S)
        self._pending: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()
        self.last_fault, self.last_status, self._logged = "", 0, float("-inf")
        _avoid_proxy()
        token = secrets.token_urlsafe(16)
        server = _Server((_LOOPBACK, 0), _handler_of(weakref.ref(self), f"/{token}/"))
        self.url = f"http://{_LOOPBACK}:{server.server_port}/{token}"
        threading.Thread(
            target=server.serve_forever, args=(0.1,), name="orthosharp-gateway", daemon=True
        ).start()
        self._finalizer = weakref.finalize(self, _stop, server, client)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Stop answering, and close the connections to the service."""
        self._finalizer()

    def tile(self, number: int, column: int, row: int) -> bytes:
        """Return a tile as an uncompressed TIFF of red, green, blue and alpha; empty where there is no photograph.

        Raises:
            ServiceFault: the service does not send it.
        """
        level = self._levels[number]
        if not level.tiles.contains(column, row):
            return b""
        url = level.url(column, row)
        try:
            body = self._body(url)
            if not body:
                return b""
            pixels = decode(body, level.tile_px)
        except ImageFault as error:
            fault = ServiceFault(f"the service sent something else than a tile: {error}", 502)
            self._note(url, fault)
            raise fault from error
        answer = io.BytesIO()
        Image.fromarray(pixels).save(answer, "TIFF")
        return answer.getvalue()

    def _body(self, url: str) -> bytes:
        """What the service sent for a URL: from memory, from a request that is on its way, or asked for now."""
        with self._lock:
            if url in self._cache:
                return self._cache[url]
            if url in self._failed:
                raise self._failed[url]
            pending = self._pending.get(url)
            if pending is None:
                mine: Future[bytes] = Future()
                self._pending[url] = mine
        if pending is not None:
            return pending.result()
        try:
            body = self._ask(url)
        except BaseException as error:
            if isinstance(error, ServiceFault):
                self._note(url, error)
            mine.set_exception(error)
            raise
        else:
            with self._lock:
                if len(body) < CACHE_BYTES // 4:
                    self._cache[url] = body
            mine.set_result(body)
            return body
        finally:
            with self._lock:
                del self._pending[url]

    def _ask(self, url: str) -> bytes:
        reply = self._client.get(url, MOST_IMAGE_BYTES)
        if is_gap(reply):
            return b""
        if reply.status != 200:
            raise ServiceFault(f"the service answered {reply.status}", reply.status)
        if not reply.body:
            raise ServiceFault("the service sent an empty answer", 502)
        return reply.body

    def _note(self, url: str, fault: ServiceFault) -> None:
        with self._lock:
            now = time.monotonic()
            silent = now - self._logged < _LOG_S
            self._logged = self._logged if silent else now
            self.last_fault, self.last_status = str(fault), fault.status
            self._failed[url] = fault
            self._cache.pop(url, None)
        if not silent:
            logger.warning("a tile of the photograph's service is missing: %s", fault)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    # As many connections as GDAL may open at once.
    request_queue_size = 128


def _stop(server: _Server, client: PoliteClient) -> None:
    server.shutdown()
    server.server_close()
    client.close()


def _handler_of(reference: weakref.ref[Gateway], prefix: str) -> type[BaseHTTPRequestHandler]:
    """A handler that answers `prefix` + LEVEL/COLUMN/ROW; it does not keep the gateway alive."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self) -> None:
            gateway = reference()
            parts = self.path.removeprefix(prefix).split("/")
            if gateway is None or not self.path.startswith(prefix) or len(parts) != 3:
                self._answer(403, b"")
                return
            try:
                number, column, row = map(int, parts)
                body = gateway.tile(number, column, row)
            except (ValueError, IndexError):
                self._answer(400, b"")
            except ServiceFault as fault:
                self._answer(fault.status if 400 < fault.status != 404 else 502, str(fault).encode())
            except Exception:
                logger.exception("a tile of the photograph's service could not be decoded")
                self._answer(500, b"")
            else:
                self._answer(200 if body else 404, body)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "image/tiff" if status == 200 else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing: the service's faults are logged once."""

        def handle(self) -> None:
            with suppress(ConnectionError):  # GDAL may have read enough
                super().handle()

    return Handler


def _avoid_proxy() -> None:
    """Let GDAL's requests to this machine pass by a proxy: libcurl takes it from the environment."""
    if not any(os.environ.get(name) for name in ("http_proxy", "all_proxy", "ALL_PROXY", "GDAL_HTTP_PROXY")):
        return
    # The first of the two that is set hides the other one.
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    if _LOOPBACK not in hosts and hosts != "*":
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{hosts},{_LOOPBACK}".lstrip(",")
