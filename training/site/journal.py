"""What a run has done: one file, replaced as a whole after each step, from which the same command goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sr_model.atomic import write_atomic
from training.errors import RunError
from training.locks import is_unused

JOURNAL: Final = "site.json"
# Of the steps; raise it when what they record changes its meaning.
_VERSION: Final = 1


class Journal:
    """The steps that are done, each with what it found."""

    def __init__(self, run: Path, asked: dict[str, Any]) -> None:
        """Begin a run, or go on with one of the very same choices.

        Args:
            run: its folder; made if missing.
            asked: the choices, JSON values.

        Raises:
            RunError: the folder holds a run of other choices, or something else.
        """
        self._path = run / JOURNAL
        self._document: dict[str, Any] = {"version": _VERSION, "asked": _plain(asked), "done": {}}
        if not self._path.is_file():
            if not is_unused(run):
                raise RunError(
                    f"{run.name} is not empty, and holds no run of a site: name another folder with --run"
                )
            run.mkdir(parents=True, exist_ok=True)
            self._write()
            return
        try:
            before = json.loads(self._path.read_text())
            old, done = before["asked"], before["done"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self._path} cannot be read ({error}): name another folder with --run"
            ) from error
        now = self._document["asked"]
        other = sorted(name for name in old | now if old.get(name) != now.get(name))
        if other or before.get("version") != _VERSION:
            what = f"with other {', '.join(other)}" if other else "by another version"
            raise RunError(
                f"{run.name} was begun {what}: give the same command to go on, or name another folder with --run"
            )
        self._document["done"] = done

    def step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a step found: now, or when it was done."""
        done: dict[str, dict[str, Any]] = self._document["done"]
        if name not in done:
            found = _plain(work())
            done[name] = found
            self._write()
        return done[name]

    def forget_unless(self, name: str, **expected: object) -> None:
        """Let a step be done again that found something else than this."""
        found = self._document["done"].get(name, {})
        if any(found.get(key) != value for key, value in expected.items()):
            self._document["done"].pop(name, None)

    def is_done(self, name: str) -> bool:
        """Whether a step was done, in this process or an earlier one."""
        return name in self._document["done"]

    def _write(self) -> None:
        write_atomic(self._path, (json.dumps(self._document, indent=2) + "\n").encode())


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """As it will be read: tuples are lists then."""
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain
