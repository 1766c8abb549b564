"""Ctrl+C and SIGTERM during a run: the step in hand is finished and saved."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Final, Self

import torch
from lightning.fabric import Fabric

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# Devices that train together have to stop at the same step; to ask them after every step would take time.
_ASK_EVERY: Final = 10


class StopRequests(AbstractContextManager["StopRequests"]):
    """Notes signals while it is entered; a second one interrupts at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        except ValueError:  # not the main thread, which alone gets signals
            self._before = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def are_heard(self, fabric: Fabric, step: int) -> bool:
        """Whether the run is to stop after this step, on all devices."""
        if fabric.world_size == 1:
            return self._asked
        if step % _ASK_EVERY:
            return False
        mine = fabric.to_device(torch.tensor(float(self._asked)))
        return bool(fabric.all_reduce(mine, reduce_op="max"))


def leave_signals_to_the_run(_worker: int) -> None:
    """In a process that loads crops: Ctrl+C reaches the whole group, and the step in hand needs its crops."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
