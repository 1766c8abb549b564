"""A lane runs calls in threads, in the order of its queue, and all maps of a server share its lanes."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import middle_tile
from starlette.testclient import TestClient

from tileserver.errors import AbandonedError, OverloadedError
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.lane import Lane
from tileserver.web.maps import ReloadableMaps, open_generation


async def never() -> None:
    """The client stays."""
    await asyncio.Event().wait()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen")


def lane(threads: int = 1, **changes: float) -> Lane:
    limits = {"waiting": 64, "max_wait_s": 30.0, "deadline_s": 60.0, **changes}
    return Lane("test", threads, **limits)  # type: ignore[arg-type]


def test_calls_of_a_group_follow_their_first_and_do_not_keep_threads() -> None:
    """Two threads: while the metatile is made, the second thread is free for other work."""
    tested, gate, order = lane(threads=2), threading.Event(), list[str]()

    def slow(_: object) -> None:
        assert gate.wait(30)
        order.append("first")

    async def visit() -> None:
        first = asyncio.ensure_future(tested.run(slow, never, group="metatile"))
        await until(lambda: tested.unfinished == 1)
        others = [
            asyncio.ensure_future(tested.run(lambda _: order.append("follower"), never, group="metatile"))
            for _ in range(5)
        ]
        await until(lambda: tested.unfinished == 6)
        await tested.run(lambda _: order.append("other"), never)
        assert order == ["other"]
        gate.set()
        await asyncio.gather(first, *others)

    asyncio.run(visit())
    assert order == ["other", "first", *["follower"] * 5]
    tested.close()


def test_a_call_that_gets_no_thread_in_time_is_refused_and_one_that_runs_is_not() -> None:
    tested, gate = lane(max_wait_s=0.2), threading.Event()

    async def visit() -> None:
        running = asyncio.ensure_future(tested.run(lambda _: gate.wait(30), never))
        await until(lambda: tested.unfinished == 1)
        with pytest.raises(OverloadedError, match=r"within 0\.2 s"):
            await tested.run(lambda _: None, never)
        assert tested.unfinished == 1
        gate.set()
        assert await running

    asyncio.run(visit())
    tested.close()


def test_what_runs_is_wanted_while_another_client_waits_for_the_same() -> None:
    tested, left, gate = lane(), asyncio.Event(), threading.Event()
    wanted: list[bool] = []

    def slow(is_wanted: Callable[[], bool]) -> None:
        assert gate.wait(30)
        wanted.append(is_wanted())

    async def visit() -> None:
        leaving = asyncio.ensure_future(tested.run(slow, left.wait, group="metatile"))
        await until(lambda: tested.unfinished == 1)
        staying = asyncio.ensure_future(tested.run(lambda _: "made", never, group="metatile"))
        await until(lambda: tested.unfinished == 2)
        left.set()
        with pytest.raises(AbandonedError):
            await leaving
        gate.set()
        assert await staying == "made"

    asyncio.run(visit())
    assert wanted == [True]
    tested.close()


def test_a_closed_lane_refuses_what_waits() -> None:
    tested, gate = lane(), threading.Event()

    async def visit() -> None:
        running = asyncio.ensure_future(tested.run(lambda _: gate.wait(30), never))
        await until(lambda: tested.unfinished == 1)
        waiting = asyncio.ensure_future(tested.run(lambda _: None, never))
        await until(lambda: tested.unfinished == 2)
        closing = asyncio.ensure_future(asyncio.to_thread(tested.close))
        with pytest.raises(OverloadedError, match="shutting down"):
            await waiting
        gate.set()
        await asyncio.gather(running, closing)

    asyncio.run(visit())


def test_maps_share_threads_and_limits(photo: Path, new_photo: Path, tiny_weights: Path) -> None:
    maps = {
        name: Settings(
            source=str(path),
            weights=tiny_weights,
            runtime="openvino",
            max_requests=1,
            max_pictures=1,
            threads=1,
        )
        for name, path in (("one", photo), ("two", new_photo))
    }
    # Those of earlier tests in this process may still be ending.
    before = set(threading.enumerate())
    shared, admission = Shared(maps["one"]), Admission(maps["one"])
    generation = open_generation(maps, shared, admission)
    application = ReloadableMaps(generation, shared, admission, lambda: generation)
    with TestClient(application) as client:
        admission.requests.count += 1  # as if another map answered one
        for name in maps:
            refused = client.get(f"/{name}/tilejson.json")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert client.get(f"/{name}/healthz").status_code == 200
        admission.requests.count -= 1
        for service, name in zip(generation.services, maps, strict=True):
            tile = middle_tile(service)
            assert client.get(f"/{name}/tiles/{tile.z}/{tile.x}/{tile.y}.png").status_code == 200
        begun = set(threading.enumerate()) - before
        assert len([thread for thread in begun if "orthosharp-restore" in thread.name]) == 1


def test_a_thread_knows_the_request_that_it_works_for() -> None:
    """By context variables, from which the log takes the request's id."""
    tested, request = lane(threads=1), contextvars.ContextVar("request", default="")

    async def visit(name: str) -> str:
        request.set(name)
        return await tested.run(lambda _: request.get(), never)

    async def visit_all() -> list[str]:
        return await asyncio.gather(*(visit(name) for name in "abc"))

    assert asyncio.run(visit_all()) == ["a", "b", "c"]
    tested.close()
