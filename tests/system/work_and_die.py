"""Runs `orthosharp seed` or `restore` in children that die at a random step, or at a random moment.

A step is a statement of SQLite, or an operation on a file. Run by test_interrupted.py; a process of its own, so
that children are forked before any thread exists and the imports are paid for once. Prints how many children were
killed, and the exit code of the last one, which was left alone.

Run: python work_and_die.py RANDOM_SEED MOST_KILLS COMMAND ARGUMENT ...
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tileserver.archives import pmtiles
from tileserver.cli.main import main
from tileserver.jobs.seed import archive_output, journal
from tileserver.jobs.seed import seeder as run

# Less than a run of the test takes, so that it is killed again and again, and more than one metatile takes.
MOST_STEPS = 250
# The first one dies this early at the latest: an image takes fewer steps than an archive.
MOST_FIRST_STEPS = 20
MOST_SECONDS = 3.0


class Countdown:
    """Kills this process at one of its steps, wherever that is."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.step()
            result = function(*arguments, **options)
            self.step()
            return result

        return wrapped

    def before_each(self, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def wrapped(*arguments: Any) -> Iterator[Any]:
            for item in function(*arguments):
                self.step()
                yield item

        return wrapped


def child(steps: int, seconds: float, arguments: list[str]) -> None:
    countdown = Countdown(steps)
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(countdown.step)
        return connection

    journal.sqlite3.connect = archive_output.sqlite3.connect = traced  # type: ignore[assignment]
    os.fsync = countdown.around(os.fsync)
    os.link = countdown.around(os.link)
    Path.replace = countdown.around(Path.replace)  # type: ignore[method-assign]
    Path.unlink = countdown.around(Path.unlink)  # type: ignore[method-assign]
    Path.mkdir = countdown.around(Path.mkdir)  # type: ignore[method-assign]
    pmtiles._images = countdown.before_each(pmtiles._images)
    run.COMMIT_S = 0.0  # type: ignore[misc]
    # Nothing catches it: it ends the process in the middle of whatever it does, as a kill does.
    signal.setitimer(signal.ITIMER_REAL, seconds)
    main(arguments)


def fork(steps: int, seconds: float, arguments: list[str]) -> int:
    """Wait status of a child that dies after so many steps or seconds; 0 for never."""
    process = os.fork()
    if process == 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        code = 99
        try:
            child(steps, seconds, arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            # At once: threads that the parent never had are not to be joined.
            os._exit(code)
    return os.waitpid(process, 0)[1]


def kill_again_and_again(seed: int, most_kills: int, arguments: list[str]) -> None:
    dice = random.Random(seed)
    kills = 0
    while kills < most_kills:
        if kills % 3 == 2:
            status = fork(0, MOST_SECONDS * dice.random(), arguments)
        else:
            # As often early as late: the beginning and the end of a run are where care is needed.
            status = fork(int((MOST_STEPS if kills else MOST_FIRST_STEPS) ** dice.random()), 0, arguments)
        if not os.WIFSIGNALED(status):
            break
        kills += 1
    status = fork(0, 0, arguments)
    print(kills, os.waitstatus_to_exitcode(status))  # noqa: T201


if __name__ == "__main__":
    kill_again_and_again(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
