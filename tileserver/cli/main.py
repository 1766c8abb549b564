"""`orthosharp`: the group of all commands."""

from __future__ import annotations

import contextlib
import ctypes
import os

import click

from tileserver.cli.cache import cache
from tileserver.cli.info import info
from tileserver.cli.restore import restore
from tileserver.cli.seed import seed
from tileserver.cli.serve import serve

# Number of glibc's parameter for the number of heaps (malloc.h).
_M_ARENA_MAX = -8


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orthosharp")
def main() -> None:
    """Serve an old aerial photograph as if it had been taken today."""
    _keep_memory_together()


def _keep_memory_together() -> None:
    """Let all threads take memory from two heaps: of one for each, large arrays make a fifth more, full of holes."""
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # only glibc has such heaps
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


for _command in (serve, info, seed, restore, cache):
    main.add_command(_command)

if __name__ == "__main__":
    main()
