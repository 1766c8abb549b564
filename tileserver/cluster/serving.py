"""`orthosharp serve --ray`: deploys networks and maps, and keeps them until the command ends."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import ray
from ray import serve
from ray.serve.exceptions import RayServeException

from tileserver.cluster.apps import MAPS, NETWORKS, NetworksArgs, maps_application, networks_application
from tileserver.cluster.connect import connected
from tileserver.errors import ClusterError
from tileserver.render.networks import OpenRestorer, open_restorer
from tileserver.settings import Settings

# Our own errors in the text of a deployment that failed.
_REASON: Final = re.compile(r"(?:tileserver|sr_model)[\w.]*\.\w+Error: (.+)")


@contextmanager
def served_on_ray(
    address: str,
    maps: Mapping[str, Settings],
    port: int,
    networks: int,
    replicas: int,
    open_restorer: OpenRestorer = open_restorer,
    *,
    fewest_networks: int = 1,
    access_log: bool = False,
) -> Iterator[Callable[[Mapping[str, Settings]], None]]:
    """Serve maps for the duration of the block.

    Args:
        address: `local`, or HOST:PORT of the cluster's head.
        maps: settings of each map, the default first.
        port: port of every host's proxy; its address is that of the settings.
        networks: number of processes with networks, at most; with a GPU each if the cluster has any.
        replicas: number of processes that read and encode.
        open_restorer: opens a network in one of the cluster's processes.
        fewest_networks: number of processes with networks, at least.
        access_log: whether the replicas of the maps log every request.

    Yields:
        A function that deploys the maps anew, with other settings: replica after replica, without a failed request.

    Raises:
        ClusterError: the cluster does not answer, or its hosts differ.
        StartError, sr_model.SrModelError: a map cannot be served.
    """
    settings = next(iter(maps.values()))
    quiet = {"log_level": "WARNING", "enable_access_log": False, "encoding": settings.log_format.upper()}
    log = {**quiet, "log_level": "INFO", "enable_access_log": True} if access_log else quiet

    def deploy(found: Mapping[str, Settings]) -> None:
        _run(maps_application(found, replicas, 1.0), MAPS, "/", log)

    # Ray logs each of its steps.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with connected(address, replicas + networks):
        gpus = ray.cluster_resources().get("GPU", 0.0) if settings.device != "cpu" else 0.0
        args = NetworksArgs(
            replicas=fewest_networks,
            most_replicas=networks,
            gpus=min(gpus, 1.0),
            batch=settings.batch,
            queue_size=settings.queue_size,
        )
        serve.start(
            # Longer than a tile may take, so that the application answers first.
            http_options={"host": settings.host, "port": port, "request_timeout_s": 2 * settings.deadline_s},
            logging_config=quiet,
        )
        try:
            _run(networks_application(args, open_restorer), NETWORKS, None, quiet)
            deploy(maps)
            yield deploy
        finally:
            serve.delete(MAPS)
            serve.delete(NETWORKS)


def wait_for_signal(reload: Callable[[], None]) -> None:
    """Wait for Ctrl+C or SIGTERM; SIGHUP calls `reload`."""
    woken, ends = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        ends.set()
        woken.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, lambda *_: woken.set())
    while not ends.is_set():
        woken.wait()
        woken.clear()
        if not ends.is_set():
            reload()


def _run(application: serve.Application, name: str, route: str | None, log: dict[str, Any]) -> None:
    """Deploy an application and wait until it runs.

    Raises:
        ClusterError: it does not; the message is that of its replicas.
    """
    try:
        serve.run(application, name=name, route_prefix=route, logging_config=log)
    except (RuntimeError, RayServeException, TimeoutError) as error:
        raise ClusterError(_reason(name) or str(error).strip().splitlines()[0]) from error


def _reason(name: str) -> str:
    """Return what the replicas of an application said of why they cannot start; empty if nothing."""
    application = serve.status().applications.get(name)
    if application is None:
        return ""
    texts = [application.message, *(deployment.message for deployment in application.deployments.values())]
    found = _REASON.findall("\n".join(texts))
    return (
        found[-1] if found else next((text.strip().splitlines()[-1] for text in reversed(texts) if text), "")
    )
