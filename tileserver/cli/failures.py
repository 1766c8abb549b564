"""The file beside an output that lists failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sr_model.atomic import write_atomic


def list_failures(path: Path, title: str, rows: Sequence[str]) -> None:
    """Write the list of failures and report it; if there are none, remove the list of an earlier run.

    Args:
        path: the list.
        title: its first line, which says what a row contains.
        rows: one line per failure.

    Raises:
        OSError: the list cannot be written.
    """
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_atomic(path, "".join(f"{line}\n" for line in (f"# {title}", *rows)).encode())
    click.echo(f"{len(rows)} failed, see {path}; run the same command to try them again", err=True)
