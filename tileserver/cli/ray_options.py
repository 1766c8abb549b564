"""Options of the commands that can run on a cluster. What runs them, in `tileserver.cluster`, needs the extra `ray`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from sr_model.shipped import BUNDLED
from tileserver.errors import ClusterError
from tileserver.settings import Settings

_ADDRESS: Final = click.option(
    "--ray",
    "ray_address",
    metavar="local|HOST:PORT",
    help="Run on a Ray cluster: on one of this machine alone, or by the address of its head node.",
)
_NETWORKS: Final = click.option(
    "--networks",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="With --ray: processes that run the network, with a GPU each if the cluster has any.",
)
_REPLICAS: Final = click.option(
    "--replicas",
    type=click.IntRange(1, 1000),
    default=2,
    show_default=True,
    help="With --ray: processes that read the photograph and encode tiles.",
)


def ray_job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options of a job on a cluster."""
    return _ADDRESS(_NETWORKS(command))


def ray_serve_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options of a server on a cluster."""
    return _ADDRESS(_REPLICAS(_NETWORKS(command)))


def need_ray() -> None:
    """Check that Ray is installed.

    Raises:
        ClusterError: it is not.
    """
    if find_spec("ray") is None or find_spec("ray.serve") is None:
        raise ClusterError('--ray needs Ray, which is not installed: pip install "orthosharp[ray]"')


def with_absolute_paths(settings: Settings) -> Settings:
    """Return settings whose files are named in full: a worker's own folder is another one."""
    named: dict[str, Any] = {}
    is_bundled = str(settings.weights) in BUNDLED
    for field in ("source", "new", "weights", "footprint", "exclude", "store"):
        value = getattr(settings, field)
        if field == "weights" and is_bundled:
            continue
        if isinstance(value, tuple):
            named[field] = tuple(map(_absolute, value))
        elif value is not None:
            named[field] = type(value)(_absolute(str(value)))
    return settings.model_copy(update=named)


def _absolute(name: str) -> str:
    """A path from the root; URLs, services and GDAL's own names have a colon and stay."""
    return name if ":" in name else str(Path.cwd() / name)
