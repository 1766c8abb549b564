"""Serving on a real cluster of this machine: two replicas of the maps, and two of a network that notes what it does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from conftest import Photo, clean_environment, free_port, write_photo
from otlp_collector import Received, collecting

from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

START_S, ANSWER_S = 240, 240


@dataclass
class Cluster:
    process: subprocess.Popen[str]
    url: str
    notes: Path
    photo: Path
    logs: Path
    received: Received | None = None

    def get(self, tile: TileAddress, extension: str = "webp") -> httpx.Response:
        return httpx.get(f"{self.url}/tiles/{tile.z}/{tile.x}/{tile.y}.{extension}", timeout=ANSWER_S)

    def passes(self) -> list[list[str]]:
        """Process and window of each pass of a network."""
        return [line.split() for line in self.notes.read_text().splitlines()] if self.notes.exists() else []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with collecting() as received:
        looks = Photo(width=1000, height=1000)
        with running(folder, looks, tiny_weights, 2, 2, **received.environment) as cluster:
            cluster.received = received
            yield cluster


@contextmanager
def running(
    folder: Path, looks: Photo, weights: Path, fewest: int, most: int, **variables: str
) -> Iterator[Cluster]:
    """Start counted_server.py with a photograph and so many networks."""
    # The paths of Ray's sockets, which lie there, have to be short.
    logs = Path(tempfile.mkdtemp(prefix="ray"))
    photo = write_photo(folder / "old.tif", looks)
    port, notes = free_port(), folder / "notes"
    script = Path(__file__).with_name("counted_server.py")
    process = subprocess.Popen(
        [sys.executable, script, photo, weights, str(port), notes, str(fewest), str(most)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**clean_environment(), **variables, "RAY_TMPDIR": str(logs)},
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        yield Cluster(process, f"http://127.0.0.1:{port}", notes, photo, logs)
    finally:
        process.stdin.close()
        process.wait(START_S)
        process.stdout.close()
        shutil.rmtree(logs, ignore_errors=True)


@pytest.fixture(scope="module")
def alone(cluster: Cluster, tiny_weights: Path) -> Iterator[TileService]:
    """The same map in one process."""
    service = TileService(Settings(source=str(cluster.photo), weights=tiny_weights, runtime="openvino"))
    yield service
    service.close()


def tiles(service: TileService) -> list[TileAddress]:
    """Two tiles of each metatile."""
    pyramid = service.rasters.view("restored", "WebMercatorQuad").pyramid
    zoom, window = pyramid.native_zoom, pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    corners = [part for part, _ in pyramid.pieces(zoom, window)]
    found = [TileAddress(zoom, one.x // 256 + at, one.y // 256 + at) for one in corners for at in (1, 2)]
    return [tile for tile in found if pyramid.touches(zoom, tile.window)]


def test_each_window_is_restored_once_and_what_is_too_much_is_refused(
    cluster: Cluster, alone: TileService
) -> None:
    """Visitors ask the two replicas for the same tiles at the same time, and again after a refusal."""
    before = len(cluster.passes())
    wanted = tiles(alone)
    refusals: list[httpx.Response] = []

    def visit(tile: TileAddress) -> bytes:
        deadline = time.monotonic() + ANSWER_S
        while True:
            answer = cluster.get(tile)
            if answer.status_code == 200:
                return answer.content
            assert answer.status_code == 503, answer.text
            refusals.append(answer)
            assert time.monotonic() < deadline
            time.sleep(int(answer.headers["Retry-After"]))

    with ThreadPoolExecutor(16) as visitors:
        bodies = list(visitors.map(visit, [*wanted, *wanted]))
    expected = [alone.tile(TileRequest("restored", "WebMercatorQuad", tile, "webp")).body for tile in wanted]
    assert bodies == [*expected, *expected]

    windows = Counter(window for _, window in cluster.passes()[before:])
    assert len(windows) >= 6
    assert set(windows.values()) == {1}
    assert len({process for process, _ in cluster.passes()}) == 2

    busy = [one for one in refusals if "networks of the cluster are busy" in one.text]
    assert busy
    assert all(int(one.headers["Retry-After"]) >= 1 for one in refusals)
    assert all(one.headers["Cache-Control"] == "no-store" for one in refusals)

    passes = len(cluster.passes())
    for tile in wanted:
        # Of both replicas, each of which has it in memory or in its metatile.
        for _ in range(3):
            assert cluster.get(tile).status_code == 200
    assert len(cluster.passes()) == passes


def test_nothing_listens_on_other_interfaces(cluster: Cluster) -> None:
    below = {cluster.process.pid}
    children = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = dict(map(int, line.split()) for line in children.stdout.splitlines())
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    inodes = {
        link.readlink().name.removeprefix("socket:[").removesuffix("]")
        for pid in below
        for link in Path(f"/proc/{pid}/fd").glob("*")
        if link.is_symlink() and "socket:" in str(link.readlink())
    }
    listening = [
        (fields[1].rpartition(":")[0], int(fields[1].rpartition(":")[2], 16))
        for table in ("tcp", "tcp6")
        for fields in (line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in inodes
    ]
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert len(listening) > 5
    assert {address for address, _ in listening} <= loopback


def test_requests_of_replicas_are_traced_and_logged(cluster: Cluster) -> None:
    answer = httpx.get(f"{cluster.url}/old/info", headers={"X-Request-ID": "a-visit"}, timeout=ANSWER_S)
    assert answer.status_code == 200
    assert answer.headers.get_list("X-Request-ID") == ["a-visit"]
    assert cluster.received
    path, _ = cluster.received.wait_for(b"LayerFactory.info")
    assert path == "/v1/traces"
    lines = [
        json.loads(line)
        for file in cluster.logs.glob("**/logs/serve/replica_orthosharp_maps_*.log")
        for line in file.read_text().splitlines()
    ]
    # Ray names the application's route instead of the path.
    assert any(
        line.get("request_id") == "a-visit" and line["message"].startswith("GET / 200") for line in lines
    )


def test_replicas_that_would_make_other_tiles_refuse_to_join(cluster: Cluster, alone: TileService) -> None:
    assert cluster.process.stdin
    assert cluster.process.stdout
    cluster.process.stdin.write("differ\n")
    cluster.process.stdin.flush()
    said = cluster.process.stdout.readline()
    assert said.startswith("refused: ")
    assert f"weights: {alone.restorer.digest[:12]}, not 000000000000" in said
    assert "give every host the same version, files and weights" in said


def test_more_networks_start_where_the_queue_stays_long(tmp_path: Path, tiny_weights: Path) -> None:
    with running(tmp_path, Photo(width=3000, height=3000), tiny_weights, 1, 2) as cluster:
        service = TileService(Settings(source=str(cluster.photo), weights=tiny_weights, runtime="openvino"))
        wanted = tiles(service)
        service.close()
        assert len(wanted) > 40

        def visit(tile: TileAddress) -> None:
            deadline = time.monotonic() + ANSWER_S
            # Ray looks at the queue for half a minute before it starts another process.
            while len(processes()) < 2 and time.monotonic() < deadline:
                answer = cluster.get(tile)
                assert answer.status_code in (200, 503), answer.text
                if answer.status_code == 200:
                    break
                time.sleep(int(answer.headers["Retry-After"]))

        def processes() -> set[str]:
            return {process for process, _ in cluster.passes()}

        with ThreadPoolExecutor(16) as visitors:
            list(visitors.map(visit, wanted))
        assert len(processes()) == 2
