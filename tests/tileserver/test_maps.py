"""Several maps on one server, and reloads that replace them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import middle_tile, write_tiny_weights
from fastapi import FastAPI
from starlette.testclient import TestClient

from tileserver.errors import SourceError
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.maps import Generation, ReloadableMaps, open_generation


@pytest.fixture
def two_maps(
    photo: Path, make_photo: Callable[..., Path], tiny_weights: Path
) -> Iterator[tuple[TestClient, ReloadableMaps]]:
    """A client and the application of two maps; the photograph of the second belongs to the test."""
    own = make_photo("own", seed=3)
    maps = {
        name: Settings(source=str(path), weights=tiny_weights, runtime="openvino", name=name)
        for name, path in (("first", photo), ("second", own))
    }
    shared, admission = Shared(maps["first"]), Admission(maps["first"])

    def load() -> Generation:
        if not own.exists():
            raise SourceError("gone")
        return open_generation(maps, shared, admission)

    application = ReloadableMaps(load(), shared, admission, load)
    with TestClient(application) as client:
        yield client, application


def test_maps_have_paths_of_their_own_and_share_a_network(
    two_maps: tuple[TestClient, ReloadableMaps],
) -> None:
    client, application = two_maps
    assert client.get("/config.json").json()["name"] == "first"
    assert client.get("/second/config.json").json()["name"] == "second"
    template = client.get("/second/tilejson.json").json()["tiles"][0]
    assert template.startswith("http://testserver/second/restored/tiles/")
    assert client.get("/second/config.json").json()["tiles"]["old"].startswith("/second/old/tiles/")
    one, other = application.current.services
    assert one.restorer is other.restorer
    tile = middle_tile(one)
    path = f"/tiles/{tile.z}/{tile.x}/{tile.y}.png"
    for _ in ("cold", "warm"):
        answers = {name: client.get(name + path) for name in ("", "/first", "/second")}
        assert {answer.status_code for answer in answers.values()} == {200}
        assert answers[""].content == answers["/first"].content != answers["/second"].content
    assert client.get("/second/").status_code == 200
    assert client.get("/second/viewer/main.js").status_code == 200
    assert client.get("/third/config.json").status_code == 404


def test_a_reload_takes_over_or_leaves_everything_as_it_was(
    two_maps: tuple[TestClient, ReloadableMaps], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    client, application = two_maps
    assert client.portal is not None
    before, tile = application.current, middle_tile(application.current.services[1])
    url = f"/second/old/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    first = client.get(url)
    own = tmp_path / "own.tif"
    away = own.rename(tmp_path / "away.tif")
    assert before.is_outdated()
    assert client.portal.call(application.reload) is False
    assert application.current is before
    assert client.get(url).content == first.content
    away.unlink()
    make_photo("own", seed=8)
    assert client.portal.call(application.reload) is True
    assert application.current is not before
    assert before.retired
    assert not application.current.is_outdated()
    second = client.get(url)
    assert second.status_code == 200
    assert second.headers["etag"] != first.headers["etag"]
    # The first map has not changed: neither have its keys, so its cached tiles are still found.
    assert application.current.services[0].content == before.services[0].content
    assert application.current.services[0].restorer is before.services[0].restorer


@pytest.mark.slow
def test_maps_survive_any_failure_of_a_reload_and_the_next_one_works(
    two_maps: tuple[TestClient, ReloadableMaps],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, application = two_maps
    assert client.portal is not None
    before = application.current

    def fail() -> Generation:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(application._openings, "_load", fail)
        assert client.portal.call(application.reload) is False
    assert "MemoryError" in caplog.text
    assert application.current is before
    assert client.portal.call(application.reload) is True


def test_corrupted_weights_are_refused_and_the_old_ones_stay_in_use(photo: Path, tmp_path: Path) -> None:
    weights = write_tiny_weights(tmp_path / "w.safetensors")
    maps = {"only": Settings(source=str(photo), weights=weights, runtime="openvino")}
    shared, admission = Shared(maps["only"]), Admission(maps["only"])

    def load() -> Generation:
        return open_generation(maps, shared, admission)

    application = ReloadableMaps(load(), shared, admission, load)
    with TestClient(application) as client:
        assert client.portal is not None
        tile = middle_tile(application.current.services[0])
        good = weights.read_bytes()
        for bad in (good[:-100], good[:5000] + bytes(8) + good[5008:], b""):
            weights.write_bytes(bad)
            assert client.portal.call(application.reload) is False
        answer = client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png")
        assert answer.status_code == 200
        before = application.current.services[0].restorer.digest
        write_tiny_weights(weights, name="better")
        assert client.portal.call(application.reload) is True
        assert application.current.services[0].restorer.digest != before
        assert "model=better" in client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png").headers["x-orthosharp"]


def empty_generation(closed: list[str], name: str) -> Generation:
    """A generation whose only map does nothing but note that it is closed."""
    app = FastAPI()
    app.state.close = lambda: closed.append(name)
    app.state.service = SimpleNamespace(outdated="")
    return Generation({name: app}, name)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def begun_life(
    application: ReloadableMaps,
) -> tuple[asyncio.Queue[dict[str, str]], asyncio.Task[None]]:
    """Start an application as a server does; the event `lifespan.shutdown` ends the task."""
    events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: asyncio.Queue[Any] = asyncio.Queue()
    await events.put({"type": "lifespan.startup"})
    living = asyncio.create_task(application({"type": "lifespan"}, events.get, sent.put))
    await sent.get()
    return events, living


@pytest.mark.parametrize("opened_first", [True, False])
def test_a_reload_that_shutdown_cancels_is_closed(
    photo: Path, tiny_weights: Path, opened_first: bool
) -> None:
    """Whether its thread has opened the maps before the shutdown, and no task has taken them, or opens them later."""
    settings = Settings(source=str(photo), weights=tiny_weights)
    closed, begun, gate = list[str](), threading.Event(), threading.Event()

    def load() -> Generation:
        begun.set()
        assert gate.wait(30)
        return empty_generation(closed, "new")

    async def live() -> None:
        application = ReloadableMaps(
            empty_generation(closed, "first"), Shared(settings), Admission(settings), load
        )
        events, living = await begun_life(application)
        application.request_reload()
        while not begun.is_set():
            await asyncio.sleep(0.005)
        if opened_first:
            gate.set()
            while not application._openings.has_opened:  # the loop has no time to take it
                time.sleep(0.005)
        await events.put({"type": "lifespan.shutdown"})
        if opened_first:
            for task in tuple(application._tasks):
                task.cancel()
        await living
        assert not application._tasks or all(task.cancelling() for task in application._tasks)
        gate.set()

    asyncio.run(live())
    wait_until(lambda: sorted(closed) == ["first", "new"])


def test_reloads_are_forgotten_when_they_are_done(two_maps: tuple[TestClient, ReloadableMaps]) -> None:
    client, application = two_maps
    assert client.portal is not None
    before = application.current
    client.portal.call(application.request_reload)
    deadline = time.monotonic() + 60
    while application.current is before or len(application._tasks) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_of_many_requests_during_a_reload_one_is_kept(photo: Path, tiny_weights: Path) -> None:
    settings = Settings(source=str(photo), weights=tiny_weights)
    closed, opened, gate = list[str](), list[str](), threading.Event()

    def load() -> Generation:
        opened.append(f"reload {len(opened)}")
        assert gate.wait(30)
        return empty_generation(closed, opened[-1])

    async def storm() -> None:
        shared, admission = Shared(settings), Admission(settings)
        application = ReloadableMaps(empty_generation(closed, "first"), shared, admission, load)
        application.request_reload()
        while not opened:
            await asyncio.sleep(0.005)
        for _ in range(50):
            application.request_reload()
        gate.set()
        await asyncio.gather(*application._tasks)
        application.request_reload()
        await asyncio.gather(*application._tasks)
        await asyncio.gather(*application._tasks)  # what the reload has begun to close
        await asyncio.to_thread(admission.close)
        await asyncio.to_thread(shared.close)

    asyncio.run(storm())
    assert opened == ["reload 0", "reload 1", "reload 2"]
    assert closed == ["first", "reload 0", "reload 1"]


def test_a_reload_whose_storage_hangs_is_reported_and_holds_up_no_shutdown(
    photo: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tileserver.web.openings.OPENING_S", 0.05)
    settings = Settings(source=str(photo), weights=tiny_weights)
    closed, gate = list[str](), threading.Event()

    def load() -> Generation:
        gate.wait(60)
        return empty_generation(closed, "new")

    async def live() -> None:
        first = empty_generation(closed, "first")
        application = ReloadableMaps(first, Shared(settings), Admission(settings), load)
        events, living = await begun_life(application)
        application.request_reload()
        while "the current maps stay" not in caplog.text:
            await asyncio.sleep(0.005)
        assert application.current is first
        await events.put({"type": "lifespan.shutdown"})
        await living

    started = time.monotonic()
    asyncio.run(live())
    assert time.monotonic() - started < 20
    gate.set()
    wait_until(lambda: closed == ["first", "new"])


def test_an_opening_that_hangs_is_given_up_and_takes_over_only_if_no_later_one_has(
    photo: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tileserver.web.openings.OPENING_S", 0.2)
    settings = Settings(source=str(photo), weights=tiny_weights)
    closed, gates = list[str](), list[threading.Event]()

    def load() -> Generation:
        gates.append(threading.Event())
        name = f"reload {len(gates)}"
        if len(gates) != 2:
            assert gates[-1].wait(60)
        return empty_generation(closed, name)

    async def live() -> None:
        shared, admission = Shared(settings), Admission(settings)
        application = ReloadableMaps(empty_generation(closed, "first"), shared, admission, load)

        async def until(condition: Callable[[], object]) -> None:
            async with asyncio.timeout(30):
                while not condition():
                    await asyncio.sleep(0.005)

        # The first hangs. The second, which somebody asked for who mended the settings, takes over.
        assert not await application.reload()
        assert "not open within 0.2 s" in caplog.text
        assert await application.reload()
        second = application.current
        # The first is open after all, and too late.
        gates[0].set()
        await until(lambda: "reload 1" in closed)
        assert application.current is second
        # The third comes late as well, and nothing has taken its place.
        assert not await application.reload()
        gates[2].set()
        await until(lambda: application.current is not second)
        assert list(application.current.apps) == ["reload 3"]
        # No more than three threads are left hanging.
        for _ in range(3):
            assert not await application.reload()
        assert not await application.reload()
        assert "3 earlier openings still wait" in caplog.text
        assert len(gates) == 6
        for gate in gates:
            gate.set()
        await until(lambda: list(application.current.apps) == ["reload 6"])
        await asyncio.gather(*application._tasks)
        await asyncio.to_thread(admission.close)
        await asyncio.to_thread(shared.close)

    asyncio.run(live())
    assert sorted(closed) == ["first", "reload 1", "reload 2", "reload 3", "reload 4", "reload 5"]


def test_a_generation_that_does_not_close_holds_up_no_later_reload(photo: Path, tiny_weights: Path) -> None:
    """Its last read may hang, of a disk that the reload is to replace."""
    settings = Settings(source=str(photo), weights=tiny_weights)
    closed, gate = list[str](), threading.Event()
    first = empty_generation(closed, "first")
    first.apps["first"].state.close = lambda: gate.wait(60)

    async def reload_twice() -> None:
        shared, admission = Shared(settings), Admission(settings)
        application = ReloadableMaps(
            first, shared, admission, lambda: empty_generation(closed, f"reload {len(closed)}")
        )
        async with asyncio.timeout(20):
            assert await application.reload()
            assert await application.reload()
        gate.set()
        await asyncio.gather(*application._tasks)
        await asyncio.to_thread(admission.close)
        await asyncio.to_thread(shared.close)

    asyncio.run(reload_twice())


def test_a_shutdown_does_not_wait_for_a_read_that_hangs(
    photo: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tileserver.web.maps.CLOSING_S", 0.1)
    settings = Settings(source=str(photo), weights=tiny_weights)
    gate, first = threading.Event(), empty_generation([], "first")
    first.apps["first"].state.close = lambda: gate.wait(60)
    shared, admission = Shared(settings), Admission(settings)
    application = ReloadableMaps(first, shared, admission, lambda: first)
    started = time.monotonic()
    with TestClient(application):
        pass
    assert time.monotonic() - started < 20
    assert application.hangs
    assert "without closing all files" in caplog.text
    gate.set()
