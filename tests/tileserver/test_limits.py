"""Queues, request bodies and images are bounded, and a full queue refuses at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import anyio.to_thread
import numpy as np
import pytest
from conftest import middle_tile, path_of, service_of
from starlette.testclient import TestClient

from sr_model import PixelWindow, Restorer
from tileserver.service import TileRequest, TileService
from tileserver.tiling.grid import TileAddress
from tileserver.web.admission import Places
from tileserver.web.app import create_app
from tileserver.web.lane import Lane
from tileserver.web.tile_endpoint import TileEndpoint

MakeService = Callable[..., TileService]
MERCATOR = "WebMercatorQuad"


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Slow:
    """A network that waits for its gate before it restores, and counts the passes it has begun."""

    def __init__(self, service: TileService, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.begun = 0
        restore = service.restorer.restore

        def slow(rgb: np.ndarray, photos: object) -> np.ndarray:
            self.begun += 1
            assert self.gate.wait(120)
            return restore(rgb, photos)

        monkeypatch.setattr(service.restorer, "restore", slow)


@pytest.fixture
def slow_server(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[TestClient, Slow]]]:
    """Return a function that makes servers whose network waits for `Slow.gate`."""
    # A second caller would take its window out of the queue before the network begins it.
    monkeypatch.setattr(Restorer, "callers", 1)
    with ExitStack() as stack:

        def make(**settings: object) -> tuple[TestClient, Slow]:
            service = make_service(**settings)
            service.warm_up()
            network = Slow(service, monkeypatch)
            stack.callback(network.gate.set)
            return stack.enter_context(TestClient(create_app(service.settings, service))), network

        yield make


SlowServer = Callable[..., tuple[TestClient, Slow]]


def lane_of(client: TestClient) -> Lane:
    endpoint: TileEndpoint = client.app.state.endpoint  # type: ignore[attr-defined]
    return endpoint.admission.restoring


def test_the_queue_for_a_thread_is_bounded_in_length_and_time(slow_server: SlowServer) -> None:
    client, network = slow_server(threads=1, queue_size=1, deadline_s=3.0)
    url = f"/tiles/{path_of(client)}"
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.get, f"{url}.png")
        wait_until(lambda: network.begun == 1)
        second = pool.submit(client.get, f"{url}.webp")
        wait_until(lambda: lane_of(client).unfinished == 2)
        # The visitor's newest request takes the place of the older one, which is refused at once.
        third = client.get(f"{url}.jpg")
        refused = second.result(timeout=60)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        for late in (first.result(timeout=60), third):
            assert (late.status_code, late.headers["retry-after"]) == (503, "5")
        assert client.get("/metrics").status_code == 200
        network.gate.set()
    # The first answer came too late, but its inference was finished and its tile cached.
    wait_until(lambda: lane_of(client).unfinished == 0)
    assert client.get(f"{url}.png").headers["cache-status"] == "orthosharp; hit"
    assert network.begun == 1


def test_old_tiles_do_not_wait_for_restored_ones(slow_server: SlowServer) -> None:
    client, network = slow_server(threads=1, queue_size=4)
    path = path_of(client)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.get, f"/tiles/{path}.{ext}") for ext in ("png", "webp", "jpg")]
        wait_until(lambda: lane_of(client).unfinished == 3)
        assert client.get(f"/old/tiles/{MERCATOR}/{path}.png").status_code == 200
        assert client.get("/tiles/29/0/0.png").status_code == 404
        network.gate.set()
        assert {answer.result(60).status_code for answer in waiting} == {200}
    assert network.begun == 1


def test_work_is_dropped_when_every_client_has_disconnected(slow_server: SlowServer) -> None:
    client, network = slow_server(threads=4)
    app, tile = client.app, middle_tile(service_of(client))
    other = TileAddress(tile.z, tile.x // 4 * 4 - 1, tile.y)
    left, answered = threading.Event(), threading.Event()
    statuses: list[int] = []

    async def visit(address: TileAddress, leaves: bool) -> None:
        path = f"/tiles/{address.z}/{address.x}/{address.y}.png"

        async def receive() -> dict[str, object]:
            await anyio.to_thread.run_sync((left if leaves else answered).wait)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])  # type: ignore[arg-type]
                if not leaves:
                    answered.set()

        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
        await app(
            scope | {"query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("test", 80)},
            receive,
            send,
        )

    assert client.portal is not None
    first = client.portal.start_task_soon(visit, tile, False)
    wait_until(lambda: network.begun == 1)
    queue = service_of(client)._renderer.network
    second = client.portal.start_task_soon(visit, other, True)
    wait_until(lambda: len(queue) == 1)
    left.set()
    second.result(60)
    network.gate.set()
    first.result(60)
    wait_until(lambda: lane_of(client).unfinished == 0)
    assert sorted(statuses) == [200, 499]
    assert network.begun == 1
    assert service_of(client).cached(TileRequest("restored", MERCATOR, other, "png")) is None


def test_the_old_layer_may_stand_in_under_overload(slow_server: SlowServer) -> None:
    client, network = slow_server(threads=2, queue_size=1, deadline_s=1.0, overload="old")
    url = f"/tiles/{path_of(client)}"
    answers = [client.get(f"{url}.png") for _ in range(2)]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert "not restored" in answer.headers["x-orthosharp"]
        assert "etag" not in answer.headers
    old = client.get(f"/old/tiles/{MERCATOR}/{path_of(client)}.png")
    assert answers[0].content == old.content
    assert client.get(f"/difference/tiles/{MERCATOR}/{path_of(client)}.png").status_code == 503
    network.gate.set()
    wait_until(lambda: lane_of(client).unfinished == 0)
    assert "AI-restored" in client.get(f"{url}.png").headers["x-orthosharp"]


def test_images_have_a_limit_of_their_own(slow_server: SlowServer) -> None:
    client, network = slow_server(max_pictures=1)
    client.app.state.endpoint.admission.pictures._max_wait_s = 0.2
    west, south, east, north = client.get("/tilejson.json").json()["bounds"]
    point = f"{(west + east) / 2},{(south + north) / 2}"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.get, f"/restored/point/{point}")
        wait_until(lambda: network.begun == 1)
        for url in (
            f"/old/point/{point}",
            "/old/preview.png",
            "/old/preview/9x9.png",
            f"/restored/bbox/{west},{south},{east},{north}.png",
        ):
            refused = client.get(url)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert client.get(f"/old/tiles/{MERCATOR}/{path_of(client)}.png").status_code == 200
        network.gate.set()
        assert first.result(60).status_code == 200
    assert client.get(f"/old/point/{point}").status_code == 200


def test_pictures_wait_for_a_place_in_turn() -> None:
    """Map libraries ask for six at a time, GDAL for five."""
    order = []

    async def ask(places: Places, name: int, hold_s: float = 0.01) -> bool:
        if not await places.enter():
            return False
        order.append(name)
        await asyncio.sleep(hold_s)
        places.leave()
        return True

    async def crowd() -> None:
        places = Places(limit=1, most_waiting=3, max_wait_s=5)
        assert await asyncio.gather(*(ask(places, name) for name in range(6))) == [True] * 4 + [False] * 2
        assert order == [0, 1, 2, 3]
        # One that has waited too long gets none, and one that went away keeps none.
        slow = Places(limit=1, most_waiting=9, max_wait_s=0.05)
        first = asyncio.create_task(ask(slow, 10, hold_s=0.2))
        await asyncio.sleep(0)
        gone = asyncio.create_task(ask(slow, 11))
        assert not await ask(slow, 12)
        gone.cancel()
        assert await first
        assert await ask(slow, 13)

    asyncio.run(crowd())


def test_requests_beyond_the_limit_are_refused_at_once(make_service: MakeService) -> None:
    service = make_service(max_requests=1)
    app = create_app(service.settings, service)
    client = TestClient(app)
    inner: list[int] = []

    @app.get("/nested")
    def nested() -> dict[str, int]:
        answer = client.get("/tilejson.json")
        inner.append(answer.status_code)
        assert answer.headers["retry-after"]
        assert client.get("/healthz").status_code == 200
        return {}

    assert client.get("/nested").status_code == 200
    assert inner == [503]
    assert client.get("/tilejson.json").status_code == 200


def test_no_image_reads_many_times_its_pixels(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(max_image_px=256)
    client = TestClient(create_app(service.settings, service))
    read: list[PixelWindow] = []
    raster = service.rasters.raster
    monkeypatch.setattr(service.rasters, "raster", lambda *args: read.append(args[3]) or raster(*args))
    bounds = ",".join(map(str, client.get("/tilejson.json").json()["bounds"]))
    for layer in ("old", "restored"):
        for url in (f"bbox/{bounds}/1x256.png", f"bbox/{bounds}/256x1.png", "preview/1x256.png"):
            assert client.get(f"/{layer}/{url}").status_code == 200
    assert len(read) == 6
    assert all(window.width * window.height < 5 * 256**2 for window in read)


def test_bbox_of_the_whole_globe_is_small(served: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rasters = service_of(served).rasters
    zooms: list[int] = []
    raster = rasters.raster
    monkeypatch.setattr(rasters, "raster", lambda *args: zooms.append(args[2]) or raster(*args))
    assert served.get("/old/bbox/-180,-90,180,90.png?max_size=256").status_code == 200
    assert zooms <= [2]


def test_bodies_are_bounded(served: TestClient) -> None:
    for content in (b" " * 1_100_000, iter([b" " * 100_000] * 11)):
        answer = served.post("/old/feature.png", content=content)
        assert answer.status_code == 413
        assert "simplify" in answer.json()["detail"]
        assert answer.headers["cache-control"] == "no-store"
