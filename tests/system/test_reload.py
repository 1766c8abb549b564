"""SIGHUP and replaced files, on a real server that answers requests all the while."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import mercantile
import pytest
from conftest import Photo, running_server, write_photo, write_tiny_weights
from tile_services import fake_service

pytestmark = pytest.mark.slow


def wait_until(condition: Callable[[], object], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextmanager
def requested_all_the_while(url: str) -> Iterator[list[int]]:
    """Request a URL again and again during the block; yields the list of statuses."""
    statuses: list[int] = []
    stop = threading.Event()

    def visit() -> None:
        with httpx.Client(timeout=120) as client:
            while not stop.is_set():
                statuses.append(client.get(url).status_code)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join(150)


def middle(url: str) -> str:
    """Return the URL of a tile in the middle of the photograph."""
    document = httpx.get(f"{url}/config.json").json()
    lon, lat, _ = document["center"]
    zoom = document["native_zoom"]
    tile = mercantile.tile(lon, lat, zoom)
    return f"{url}/tiles/{tile.z}/{tile.x}/{tile.y}.png"


def test_sighup_swaps_the_weights_and_drops_no_request(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "old.tif", Photo())
    weights = write_tiny_weights(tmp_path / "w.safetensors", name="first")
    with running_server(photo, "--weights", weights, "--runtime", "openvino") as server:
        url = middle(server.url)
        before = httpx.get(url, timeout=120)
        assert "model=first" in before.headers["x-orthosharp"]
        with requested_all_the_while(url) as statuses:
            wait_until(lambda: statuses)
            weights.write_bytes(b"garbage")
            server.process.send_signal(signal.SIGHUP)
            time.sleep(1)
            assert "model=first" in httpx.get(url, timeout=120).headers["x-orthosharp"]
            write_tiny_weights(tmp_path / "x.safetensors", name="second").replace(weights)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "model=second" in httpx.get(url, timeout=120).headers["x-orthosharp"])
        assert set(statuses) == {200}
        after = httpx.get(url, timeout=120)
        assert after.headers["etag"] != before.headers["etag"]
        stale = httpx.get(url, headers={"If-None-Match": before.headers["etag"]}, timeout=120)
        assert stale.status_code == 200


def test_a_replaced_photograph_is_shown_without_a_restart(tmp_path: Path, tiny_weights: Path) -> None:
    photo = write_photo(tmp_path / "old.tif", Photo())
    with running_server(photo, "--weights", tiny_weights, "--runtime", "openvino") as server:
        url = middle(server.url).replace("/tiles/", "/old/tiles/WebMercatorQuad/")
        before = httpx.get(url, timeout=120)
        assert before.status_code == 200
        # Gone, and back as it was: unready in between, and the same tile afterwards.
        hidden = photo.rename(tmp_path / "hidden.tif")
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
        assert httpx.get(f"{url}?cached", timeout=120).status_code == 200
        hidden.rename(photo)
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        assert httpx.get(url, timeout=120).headers["etag"] == before.headers["etag"]
        write_photo(tmp_path / "next.tif", Photo(seed=9)).replace(photo)
        wait_until(lambda: httpx.get(url, timeout=120).headers.get("etag") != before.headers["etag"])
        after = httpx.get(url, timeout=120)
        assert after.status_code == 200
        assert after.content != before.content
        assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_sighup_reads_a_service_again(tmp_path: Path, tiny_weights: Path) -> None:
    """A map that is a service is opened anew, and the earlier one goes on until then: no request fails."""
    x, y, z = 77_250, 96_930, 18
    box = mercantile.bounds(x, y, z), mercantile.bounds(x + 3, y + 3, z)
    bounds = f"{box[0].west},{box[1].south},{box[1].east},{box[0].north}"
    with fake_service() as service:
        address = f"{service.url}/{{z}}/{{x}}/{{y}}.png"
        given = ("--source-bounds", bounds, "--source-pixel-size", 0.45, "--weights", tiny_weights)
        with running_server(address, *given, "--runtime", "openvino") as server:
            url = f"{server.url}/old/tiles/WebMercatorQuad/{z}/{x + 1}/{y + 1}.png"
            assert httpx.get(url).status_code == 200
            asked = service.asked.total()
            with requested_all_the_while(url) as statuses:
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda: service.asked.total() > asked)
                # A service that is away while the server reloads leaves the earlier map as it is.
                service.fault = lambda _path, _count: (404, {})
                server.process.send_signal(signal.SIGHUP)
                time.sleep(5)
            assert set(statuses) == {200}
            assert server.process.poll() is None
