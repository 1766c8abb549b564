"""Runs `orthosharp seed` in children that kill themselves at a random statement or file operation.

Run by test_seed_kill.py; a process of its own, so that children are forked before any thread exists and the
imports are paid for once. Prints how many children were killed.

Run: python seed_and_die.py RANDOM_SEED MOST_KILLS ARGUMENT ...
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tileserver.cli import main
from tileserver.seed import journal, outputs, run

# Less than a run of the test takes, so that it is killed again and again, and more than one metatile takes.
MOST_STEPS = 250


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


def child(steps: int, arguments: list[str]) -> None:
    countdown = Countdown(steps)
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(countdown.step)
        return connection

    journal.sqlite3.connect = outputs.sqlite3.connect = traced  # type: ignore[assignment]
    outputs.sync = countdown.around(outputs.sync)
    Path.replace = countdown.around(Path.replace)  # type: ignore[method-assign]
    Path.unlink = countdown.around(Path.unlink)  # type: ignore[method-assign]
    outputs.FolderOutput._put = countdown.around(outputs.FolderOutput._put)  # type: ignore[method-assign]
    run.COMMIT_S = 0.0  # type: ignore[misc]
    main(["seed", *arguments])


def fork(steps: int, arguments: list[str]) -> int:
    """Wait status of a child that dies after so many steps; 0 for never."""
    process = os.fork()
    if process == 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        code = 99
        try:
            child(steps, arguments)
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
        # As often early as late: the beginning and the end of a run are where care is needed.
        status = fork(int(MOST_STEPS ** dice.random()), arguments)
        if not os.WIFSIGNALED(status):
            break
        kills += 1
    status = fork(0, arguments)
    print(kills, os.waitstatus_to_exitcode(status))  # noqa: T201


if __name__ == "__main__":
    kill_again_and_again(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
