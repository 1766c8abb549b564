"""`orthosharp`: the command group."""

from __future__ import annotations

import contextlib
import ctypes
import os

import click

from tileserver.cli.commands import cache, info, restore, seed, serve

# M_ARENA_MAX of glibc's malloc.h.
_M_ARENA_MAX = -8


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orthosharp")
def main() -> None:
    """Serve an old aerial photograph as if it had been taken today."""
    _limit_heaps()


def _limit_heaps() -> None:
    """Let all threads share two malloc arenas; one per thread fragments, and takes a fifth more memory."""
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # only glibc has arenas
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


for _command in (serve, info, seed, restore, cache):
    main.add_command(_command)

if __name__ == "__main__":
    main()
