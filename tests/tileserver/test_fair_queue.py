"""The rule of a lane's queue: bounded in time, fair between visitors, newest first for each."""

from __future__ import annotations

from tileserver.web.fair_queue import Call, FairQueue


def call(visitor: str = "a", group: object = None) -> Call:
    return Call(lambda: None, visitor, group)


def measured(seconds_each: float, max_wait_s: float = 5.0, max_waiting: int = 64) -> FairQueue:
    """A queue in which groups were measured to take so long."""
    queue = FairQueue(max_waiting, max_wait_s)
    first = call()
    assert queue.push(first) == []
    assert queue.pop() is first
    queue.finish(first, interval_s=seconds_each)
    return queue


def pops(queue: FairQueue) -> list[Call]:
    """Take all calls, one after the other."""
    taken = []
    while (found := queue.pop()) is not None:
        taken.append(found)
        if queue.is_first(found):
            queue.finish(found)
    return taken


def test_the_newest_call_of_a_visitor_is_first() -> None:
    queue = FairQueue(64, 5.0)
    calls = [call() for _ in range(3)]
    for one in calls:
        assert queue.push(one) == []
    assert pops(queue) == calls[::-1]


def test_visitors_take_turns() -> None:
    queue = FairQueue(64, 5.0)
    greedy, modest = [call("greedy") for _ in range(4)], call("modest")
    for one in (*greedy, modest):
        queue.push(one)
    assert pops(queue) == [greedy[3], modest, greedy[2], greedy[1], greedy[0]]


def test_only_what_can_be_made_in_time_waits() -> None:
    """At a second each, five are made in five seconds: one that runs, and four that wait."""
    queue = measured(1.0)
    running = call("other")
    queue.push(running)
    assert queue.pop() is running
    calls = [call() for _ in range(6)]
    displaced = [gone for one in calls for gone in queue.push(one)]
    assert displaced == calls[:2]
    assert queue.wait_s == 5.0
    assert pops(queue) == calls[:1:-1]


def test_a_storm_displaces_its_own_calls_only() -> None:
    queue = measured(1.0)
    modest = [call("modest"), call("modest")]
    displaced = [gone for one in modest for gone in queue.push(one)]
    for _ in range(512):
        displaced += queue.push(call("storm"))
    assert {gone.visitor for gone in displaced} == {"storm"}
    assert len(queue) == 5
    assert queue.pop() is modest[1]


def test_of_visitors_with_one_call_each_the_last_is_refused() -> None:
    queue = measured(1.0)
    calls = [call(str(number)) for number in range(7)]
    displaced = [gone for one in calls for gone in queue.push(one)]
    assert displaced == calls[5:]
    assert pops(queue) == calls[:5]


def test_one_call_may_always_wait_however_slow_the_network_is() -> None:
    queue = measured(60.0)
    one, other = call(), call()
    assert queue.push(one) == []
    assert queue.push(other) == [one]
    assert queue.pop() is other


def test_a_metatile_counts_once_and_its_tiles_follow_the_first() -> None:
    queue = measured(1.0)
    tiles = [call(group="metatile") for _ in range(16)]
    assert [gone for tile in tiles for gone in queue.push(tile)] == []
    assert queue.wait_s == 1.0
    first = queue.pop()
    assert first is tiles[-1]
    assert queue.pop() is None
    assert all(map(queue.is_underway, tiles))
    queue.finish(first, interval_s=1.0)
    other = call("other")
    queue.push(other)
    assert pops(queue) == [*tiles[:-1], other]


def test_tiles_of_a_metatile_that_was_dropped_begin_anew() -> None:
    queue = FairQueue(64, 5.0)
    first, later = call(group="metatile"), call(group="metatile")
    queue.push(first)
    assert queue.pop() is first
    queue.push(later)
    queue.finish(first, dropped=True)
    assert queue.pop() is later
    assert queue.is_first(later)


def test_the_number_that_waits_is_bounded_before_anything_is_measured() -> None:
    queue = FairQueue(2, 5.0)
    calls = [call() for _ in range(4)]
    assert [gone for one in calls for gone in queue.push(one)] == calls[:2]
    assert len(queue) == 2
    assert queue.clear() == calls[2:]
    assert len(queue) == 0
