"""Twenty maps on one server: one memory, one queue, one set of limits, and one list."""

from __future__ import annotations

import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import Photo, middle_tile, write_photo
from starlette.testclient import TestClient

from sr_model import Restorer
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.maps import Generation, ReloadableMaps, open_generation

# To open them takes seconds for each.
pytestmark = pytest.mark.slow

MAPS = 20
THREADS, QUEUE, CACHE_BYTES = 2, 4, 24_000_000
WMTS = {"w": "http://www.opengis.net/wmts/1.0", "ows": "http://www.opengis.net/ows/1.1"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("twenty")
    small = [Photo(width=256, height=256, seed=number, overviews=()) for number in range(MAPS)]
    return [write_photo(folder / f"town-{number}.tif", photo) for number, photo in enumerate(small)]


@pytest.fixture(scope="module")
def server(
    photos: list[Path], tiny_weights: Path
) -> Iterator[tuple[TestClient, Generation, Admission, set[threading.Thread]]]:
    """A client, the twenty maps, their limits, and the threads that were there before."""
    maps = {
        path.stem: Settings(
            source=str(path),
            weights=tiny_weights,
            runtime="openvino",
            threads=THREADS,
            queue_size=QUEUE,
            cache_bytes=CACHE_BYTES,
            max_wait_s=60,
        )
        for path in photos
    }
    before = set(threading.enumerate())
    first = next(iter(maps.values()))
    shared, admission = Shared(first), Admission(first)
    opened = open_generation(maps, shared, admission)
    application = ReloadableMaps(opened, shared, admission, lambda: opened)
    with TestClient(application) as client:
        yield client, opened, admission, before


def paths_of(opened: Generation) -> list[str]:
    tiles = [(name, middle_tile(app.state.service)) for name, app in opened.apps.items()]
    return [f"/{name}/tiles/{tile.z}/{tile.x}/{tile.y}.png" for name, tile in tiles]


def test_they_share_one_queue_one_memory_and_their_limits(
    server: tuple[TestClient, Generation, Admission, set[threading.Thread]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many maps are asked for at once, no more is rendered, waits and is kept than for one."""
    client, opened, admission, before = server
    gate, restore, begun = threading.Event(), Restorer.restore, Counter[str]()

    def slow(self: Restorer, rgb: np.ndarray, photos: object) -> np.ndarray:
        begun["passes"] += 1
        assert gate.wait(120)
        return restore(self, rgb, photos)  # type: ignore[arg-type]

    monkeypatch.setattr(Restorer, "restore", slow)
    with ThreadPoolExecutor(MAPS) as pool:
        answers = [pool.submit(client.get, path) for path in paths_of(opened)]
        _wait_until(lambda: sum(answer.done() for answer in answers) == MAPS - THREADS - QUEUE)
        assert admission.restoring.unfinished == THREADS + QUEUE
        assert begun["passes"] <= THREADS
        gate.set()
        statuses = Counter(answer.result(60).status_code for answer in answers)
    assert statuses == {200: THREADS + QUEUE, 503: MAPS - THREADS - QUEUE}

    for path in paths_of(opened):
        assert client.get(path).status_code == 200
    figures = dict(
        line.split() for line in client.get("/metrics").text.splitlines() if line[0] != "#" and " " in line
    )
    used = [float(value) for name, value in figures.items() if name.endswith("_cache_bytes")]
    assert len(used) == 2
    # Twenty metatiles of four bytes a pixel would take far more.
    assert CACHE_BYTES / 2 < sum(used) <= CACHE_BYTES
    assert len({id(service.restorer) for service in opened.services}) == 1
    names = Counter(thread.name.rsplit("_", 1)[0] for thread in set(threading.enumerate()) - before)
    assert names["orthosharp-restore"] <= THREADS
    # Each photograph that was read has a thread of its own for that; all others are the server's.
    assert names.pop("orthosharp-read") <= MAPS
    assert sum(count for name, count in names.items() if name.startswith("orthosharp")) < MAPS, names


def test_they_are_one_list_and_one_document(
    server: tuple[TestClient, Generation, Admission, set[threading.Thread]],
) -> None:
    client, opened, *_ = server
    listed = client.get("/maps").json()["maps"]
    assert [one["id"] for one in listed] == list(opened.apps)
    root = ET.fromstring(client.get("/WMTSCapabilities.xml").content)
    names = [found.text for found in root.findall("w:Contents/w:Layer/ows:Identifier", WMTS)]
    titles = {found.text for found in root.findall("w:Contents/w:Layer/ows:Title", WMTS)}
    assert len(names) == len(set(names)) == len(titles) == 3 * MAPS
    assert len(client.get("/town-7/config.json").json()["maps"]) == MAPS


def _wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
