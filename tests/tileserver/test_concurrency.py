"""Single flight, the bounded queue and the bounded cache."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sr_model import InferenceError, PhotoContext
from tileserver.cache.memory_cache import MemoryCache
from tileserver.errors import AbandonedError, OverloadedError
from tileserver.render.network_queue import NetworkQueue
from tileserver.render.single_flight import SingleFlight
from tileserver.stages import Stages, Wanted

WINDOW = np.zeros((16, 16, 3), np.uint8)


class SlowNetwork:
    """Adds one to every pixel, once its gate is open."""

    batch = 1

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[int] = []
        self.error: BaseException | None = None

    def restore(self, rgb: np.ndarray, photos: list[PhotoContext]) -> np.ndarray:
        assert len(photos) == len(rgb)
        self.batches.append(len(rgb))
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        return rgb + np.uint8(1)


def wait_until(condition: object, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_concurrent_calls_share_one_computation() -> None:
    flight: SingleFlight[str, int] = SingleFlight(60)
    started, gate, calls = threading.Event(), threading.Event(), []

    def compute(_: object) -> int:
        calls.append(1)
        started.set()
        assert gate.wait(10)
        return 42

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(flight.do, "key", compute)]
        assert started.wait(10)
        futures += [pool.submit(flight.do, "key", compute) for _ in range(7)]
        time.sleep(0.05)
        gate.set()
        assert [future.result() for future in futures] == [42] * 8
    assert len(calls) == 1


def test_an_error_reaches_all_callers_and_is_not_kept() -> None:
    flight: SingleFlight[str, int] = SingleFlight(60)

    def fail(_: object) -> int:
        raise InferenceError("broken")

    with pytest.raises(InferenceError):
        flight.do("key", fail)
    assert flight.do("key", lambda _: 1) == 1


def test_full_queue_refuses_at_once_and_the_rest_is_served() -> None:
    network = SlowNetwork()
    queue = NetworkQueue(network, max_waiting=2, deadline_s=10)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(queue.restore, WINDOW, Stages())
        wait_until(lambda: network.batches)
        waiting = [pool.submit(queue.restore, WINDOW, Stages()) for _ in range(2)]
        wait_until(lambda: len(queue) == 2)
        begin = time.perf_counter()
        with pytest.raises(OverloadedError) as refused:
            queue.restore(WINDOW, Stages())
        assert time.perf_counter() - begin < 1
        assert refused.value.retry_after_s > 0
        network.gate.set()
        assert all((future.result() == 1).all() for future in [first, *waiting])
    queue.close()


def test_waiting_windows_form_a_batch() -> None:
    network = SlowNetwork()
    queue = NetworkQueue(network, max_waiting=8, deadline_s=10, batch=4)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(queue.restore, WINDOW, Stages())]
        wait_until(lambda: network.batches)
        futures += [pool.submit(queue.restore, WINDOW, Stages()) for _ in range(5)]
        wait_until(lambda: len(queue) == 5)
        network.gate.set()
        assert all((future.result() == 1).all() for future in futures)
    assert network.batches == [1, 4, 1]
    queue.close()


def test_the_network_limits_the_batch() -> None:
    """The limit shrinks once a batch did not fit."""
    network = SlowNetwork()
    network.batch = 4
    queue = NetworkQueue(network, max_waiting=20, deadline_s=10)
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(queue.restore, WINDOW, Stages())]
        wait_until(lambda: network.batches)
        futures += [pool.submit(queue.restore, WINDOW, Stages()) for _ in range(8)]
        wait_until(lambda: len(queue) == 8)
        network.batch = 2
        network.gate.set()
        assert all((future.result() == 1).all() for future in futures)
    assert network.batches == [1, 2, 2, 2, 2]
    queue.close()


def test_a_device_may_be_fed_by_two_threads() -> None:
    network = SlowNetwork()
    queue = NetworkQueue(network, max_waiting=8, deadline_s=10, callers=2)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(queue.restore, WINDOW, Stages()) for _ in range(4)]
        wait_until(lambda: len(network.batches) == 2)
        assert len(queue) == 2
        network.gate.set()
        assert all((future.result() == 1).all() for future in futures)
    queue.close()
    with pytest.raises(OverloadedError):
        queue.restore(WINDOW, Stages())


def test_the_deadline_ends_the_wait_but_not_a_pass_that_has_begun() -> None:
    network = SlowNetwork()
    queue = NetworkQueue(network, max_waiting=8, deadline_s=0.1)
    with ThreadPoolExecutor(1) as pool:
        stages = Stages()
        begun = pool.submit(queue.restore, WINDOW, stages)
        wait_until(lambda: network.batches)
        with pytest.raises(OverloadedError, match="no time"):
            queue.restore(WINDOW, Stages())
        assert len(queue) == 0
        network.gate.set()
        assert (begun.result() == 1).all()
    assert stages.seconds["infer"] > 0.1
    queue.close()


def test_abandoned_windows_are_not_inferred() -> None:
    network = SlowNetwork()
    queue = NetworkQueue(network, max_waiting=2, deadline_s=10)
    left = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(queue.restore, WINDOW, Stages())
        wait_until(lambda: network.batches)
        leaving = pool.submit(queue.restore, WINDOW, Stages(lambda: not left.is_set()))
        staying = pool.submit(queue.restore, WINDOW, Stages())
        wait_until(lambda: len(queue) == 2)
        left.set()
        # The queue is full, but one of its places is free now.
        late = pool.submit(queue.restore, WINDOW, Stages())
        with pytest.raises(AbandonedError):
            leaving.result(10)
        network.gate.set()
        assert all((future.result() == 1).all() for future in (first, staying, late))
    assert network.batches == [1, 1, 1]
    queue.close()


def test_a_flight_is_wanted_while_one_caller_waits() -> None:
    flight: SingleFlight[str, bool] = SingleFlight(60)
    boarded, gate, left = threading.Event(), threading.Event(), threading.Event()

    def compute(wanted: Wanted) -> bool:
        boarded.set()
        assert gate.wait(10)
        return wanted()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flight.do, "key", compute, lambda: not left.is_set())
        assert boarded.wait(10)
        second = pool.submit(flight.do, "key", compute)
        wait_until(lambda: len(flight._flights["key"].waiters) == 2)
        left.set()
        gate.set()
        assert first.result() is second.result() is True


def test_a_caller_that_joins_an_abandoned_flight_starts_over() -> None:
    flight: SingleFlight[str, int] = SingleFlight(60)
    boarded, gate, calls = threading.Event(), threading.Event(), []

    def compute(_: Wanted) -> int:
        calls.append(1)
        boarded.set()
        assert gate.wait(10)
        if len(calls) == 1:
            raise AbandonedError("nobody waits")
        return 7

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flight.do, "key", compute, lambda: False)
        assert boarded.wait(10)
        second = pool.submit(flight.do, "key", compute)
        wait_until(lambda: len(flight._flights["key"].waiters) == 2)
        gate.set()
        with pytest.raises(AbandonedError):
            first.result()
        assert second.result() == 7
    assert len(calls) == 2


def test_waits_for_another_caller_end_with_the_deadline_or_the_client() -> None:
    gate, boarded = threading.Event(), threading.Event()

    def compute(_: Wanted) -> int:
        boarded.set()
        assert gate.wait(30)
        return 7

    for flight, wanted, error in (
        (SingleFlight[str, int](0.05), lambda: True, OverloadedError),
        (SingleFlight[str, int](30), lambda: False, AbandonedError),
    ):
        gate.clear()
        boarded.clear()
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(flight.do, "key", compute)
            assert boarded.wait(10)
            with pytest.raises(error):
                flight.do("key", compute, wanted)
            gate.set()
            assert first.result() == 7


def test_a_window_leaves_the_queue_with_its_client() -> None:
    """At once, not when the network has time: threads must not wait for clients that have gone."""
    network, left = SlowNetwork(), threading.Event()
    queue = NetworkQueue(network, max_waiting=8, deadline_s=30)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(queue.restore, WINDOW, Stages())
        wait_until(lambda: network.batches)
        leaving = pool.submit(queue.restore, WINDOW, Stages(lambda: not left.is_set()))
        wait_until(lambda: len(queue) == 1)
        left.set()
        with pytest.raises(AbandonedError):
            leaving.result(10)
        assert network.batches == [1]
        assert not first.done()
        network.gate.set()
        assert (first.result() == 1).all()
    queue.close()


def test_a_device_that_hangs_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tileserver.render.network_queue._HANGS_S", 0.2)
    network = SlowNetwork()
    queue = NetworkQueue(network, max_waiting=8, deadline_s=0.1)
    with pytest.raises(OverloadedError, match="may hang"):
        queue.restore(WINDOW, Stages())
    network.gate.set()
    queue.close()


@pytest.mark.parametrize("error", [InferenceError("not finite"), RuntimeError("out of memory"), SystemExit()])
def test_failed_inference_is_reported_and_the_worker_lives_on(error: BaseException) -> None:
    network = SlowNetwork()
    network.gate.set()
    network.error = error
    queue = NetworkQueue(network, max_waiting=8, deadline_s=10)
    with pytest.raises(InferenceError):
        queue.restore(WINDOW, Stages())
    network.error = None
    assert (queue.restore(WINDOW, Stages()) == 1).all()
    queue.close()
    with pytest.raises(OverloadedError, match="shutting down"):
        queue.restore(WINDOW, Stages())


def test_a_network_that_loses_a_window_is_an_error_for_that_window(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SlowNetwork()
    network.gate.set()
    queue = NetworkQueue(network, max_waiting=8, deadline_s=10)
    with monkeypatch.context() as patch:
        patch.setattr(network, "restore", lambda rgb, _: rgb[:0])
        with pytest.raises(InferenceError):
            queue.restore(WINDOW, Stages())
    assert (queue.restore(WINDOW, Stages()) == 1).all()
    queue.close()


# threading lets a thread end by SystemExit in silence; pytest does not.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_is_replaced_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SlowNetwork()
    network.gate.set()
    queue = NetworkQueue(network, max_waiting=8, deadline_s=60)
    take, deaths = queue._take, []

    def die() -> list[object]:
        if not deaths:
            deaths.append(threading.current_thread())
            raise SystemExit
        return take()

    monkeypatch.setattr(queue, "_take", die)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(queue.restore, WINDOW, Stages())
        wait_until(lambda: deaths and not deaths[0].is_alive())
        assert (queue.restore(WINDOW, Stages()) == 1).all()
        assert (first.result(60) == 1).all()
    queue.close()


def test_cache_is_bounded_in_bytes() -> None:
    cache: MemoryCache[int, bytes] = MemoryCache(20_000, len)
    for number in range(100):
        cache.put(number, bytes(1000))
        assert cache.nbytes <= 20_000
    assert cache.get(99) == bytes(1000)
    assert cache.get(0) is None
    cache.put(100, bytes(30_000))
    assert cache.get(100) is None
    assert cache.get(99) == bytes(1000)
