"""`orthosharp serve`: opens the maps and runs the web server."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import click
import uvicorn

from sr_model import resampling
from sr_model.runtimes import load_runtime
from tileserver.cli.exits import INTERRUPTED
from tileserver.cli.listening import listen
from tileserver.cli.logs import in_json, say
from tileserver.cli.notices import say_findings
from tileserver.cli.workers import Worker
from tileserver.errors import OutsideError, StartError, TileServerError
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.tiling.grid import METATILE_PX
from tileserver.tiling.layer import LAYERS
from tileserver.web.admission import Admission
from tileserver.web.connections import ConnectionLimits, bounded_protocol
from tileserver.web.forwarded import TRUSTED_BY_DEFAULT, ForwardedAddress
from tileserver.web.instant_tiles import InstantTiles
from tileserver.web.maps import Generation, ReloadableMaps, open_generation
from tileserver.web.request_id import with_request_ids
from tileserver.web.telemetry import export_spans

_USUAL_OPEN_FILES: Final = 1024
_OPEN_FILES: Final = 65_536
# The screen that most people look at a map on.
SCREEN_PX: Final = (1920, 1080)


def start(
    maps: dict[str, Settings],
    load: Callable[[], dict[str, Settings]],
    *,
    access_log: bool,
    worker: Worker | None = None,
) -> None:
    """Serve maps until Ctrl+C.

    Args:
        maps: the settings of every map, the default first.
        load: reads them again, at each reload.
        access_log: whether to log every request.
        worker: what this process is among several; None if it is the only one.

    Raises:
        StartError, sr_model.SrModelError: a map cannot be served.
    """
    settings = next(iter(maps.values()))
    if settings.telemetry:
        export_spans()
    with listen(settings.host, settings.port) if worker is None else worker.listener as listener:
        run(maps, load, listener, access_log=access_log, worker=worker)


def run(
    maps: dict[str, Settings],
    load: Callable[[], dict[str, Settings]],
    listener: socket.socket,
    *,
    access_log: bool,
    worker: Worker | None = None,
) -> None:
    """Open the maps, warm up the network, print the addresses, and serve until Ctrl+C.

    Args:
        maps, load, access_log, worker: see `start`.
        listener: socket to accept connections from.

    Raises:
        StartError, sr_model.SrModelError: a map cannot be served.
    """
    settings = next(iter(maps.values()))
    announces = worker is None or worker.announces
    memory = settings.cache_bytes // (worker.share if worker else 1)
    shared, admission = Shared(settings.model_copy(update={"cache_bytes": memory})), Admission(settings)
    try:
        if announces:
            say("Warming up the network ...")
        threading.Thread(
            target=_load_libraries, args=(settings,), name="orthosharp-load", daemon=True
        ).start()
        first = open_generation(maps, shared, admission)
    except StartError:
        raise
    except OutsideError as error:
        raise StartError(str(error)) from error
    except TileServerError as error:
        raise StartError(f"the network could not restore a sample of the photograph: {error}") from error

    def reopen() -> Generation:
        generation = open_generation(load(), shared, admission)
        if announces:
            report_all(generation)
        return generation

    application = ReloadableMaps(first, shared, admission, reopen)
    if announces:
        report_all(first)
        report_times(first)
        announce(first, settings.host, listener.getsockname()[1])
    if worker is not None:
        shared.metrics.share(worker.figures)
        worker.say_ready()
    proxies = os.environ.get("FORWARDED_ALLOW_IPS", TRUSTED_BY_DEFAULT)
    # The access log is the application's, and so are addresses below a prefix.
    is_plain = not (access_log or settings.root_path)
    instant = InstantTiles(lambda: application.current).answer if is_plain else None
    limits = ConnectionLimits(settings.max_requests, _raise_open_files() // 2)
    config = uvicorn.Config(
        with_request_ids(ForwardedAddress(application, proxies, root_path=settings.root_path)),
        proxy_headers=False,  # ForwardedAddress includes them
        http=bounded_protocol(limits, instant),
        ws="none",
        log_config=None,  # its loggers write through our handler
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
    )
    # By the time uvicorn passes Ctrl+C on, it has shut down cleanly.
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        _end_with(application, INTERRUPTED)
        raise
    _end_with(application, 0)


def _load_libraries(settings: Settings) -> None:
    """Load what the network and the resampling need while the photographs are measured, which uses other cores.

    What fails here fails again, and is told, where it is needed.
    """
    with suppress(Exception):
        load_runtime(settings.runtime)
        resampling.warm_up()


def _end_with(application: ReloadableMaps, code: int) -> None:
    """End the process at once where reads of a storage hang: the interpreter would wait for their threads."""
    if application.hangs:
        logging.shutdown()
        os._exit(code)


def _raise_open_files() -> int:
    """Let the process open as many files, connections among them, as the system allows; return how many.

    The usual limit is 1024, which photographs of many maps and a thousand visitors would fill.
    """
    try:
        import resource
    except ImportError:  # not a POSIX system
        return _USUAL_OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def report_all(generation: Generation) -> None:
    """Say what was found in the photographs of all maps, at the start and after each reload."""
    for name, app in generation.apps.items():
        if hasattr(app.state, "service"):
            report(app.state.service, name if len(generation.apps) > 1 else "")


def report(service: TileService, map_name: str = "") -> None:
    """Say what was found in photographs, and warn of those that are slow, in a doubtful place, or do not overlap.

    Weights that were not exported are warned of, too.

    Args:
        service: the tiles of one map.
        map_name: its name, where there are several.
    """
    for warning in service.restorer.spec.export_warnings:
        say(f"{f'{map_name}: ' if map_name else ''}{warning}", "warning")
    say_findings((service.old, service.new), map_name)
    if service.new and not service.new.info.bounds_lonlat.overlaps(service.old.info.bounds_lonlat):
        say(
            f"{f'{map_name}: ' if map_name else ''}the later photograph does not overlap the old one: check --new",
            "warning",
        )


def report_times(generation: Generation) -> None:
    """Say how long a screen of new tiles takes in the slowest of the maps."""
    services = [
        (name, app.state.service) for name, app in generation.apps.items() if hasattr(app.state, "service")
    ]
    if services:
        name, slowest = max(services, key=lambda service: service[1].metatile_s)
        report_time(slowest, name if len(services) > 1 else "")


def report_time(service: TileService, map_name: str = "") -> None:
    """Say how long a screen of new tiles takes, and warn where requests would time out.

    Args:
        service: the tiles of one map.
        map_name: its name, where there are several.
    """
    # Where the screen lies on the grid of metatiles is chance: on average it touches this many.
    metatiles = math.prod(1 + side / METATILE_PX for side in SCREEN_PX)
    seconds = metatiles * service.metatile_s
    shown = f"{seconds:.0f}" if seconds >= 1 else f"{seconds:.1g}"
    where = f", on the slowest map, {map_name}" if map_name else ""
    say(
        f"A screen of {SCREEN_PX[0]} x {SCREEN_PX[1]} px that was not looked at before takes about {shown} s{where}."
    )
    if seconds > service.settings.deadline_s:
        say(
            f"that is longer than --deadline-s {service.settings.deadline_s:g}, after which requests get 503: "
            "make the tiles ahead of time with `orthosharp seed`, allow more, or use a GPU",
            "warning",
        )


def announce(generation: Generation, host: str, port: int) -> None:
    """Say that the maps are served, and where."""
    if in_json():
        say(f"orthosharp serves {', '.join(generation.apps)}", address=address_of(host, port))
    else:
        click.echo(banner(generation, host, port))


def banner(generation: Generation, host: str, port: int) -> str:
    """Addresses to open in a browser or paste into a GIS."""
    root = address_of(host, port)
    state = generation.apps[generation.default].state
    config = state.page_config("")
    lines = [f"\n  orthosharp serves {config['name']}"]
    if hasattr(state, "service"):
        restorer = state.service.restorer
        lines.append(f"  restored by {restorer.spec.name} on {restorer.runtime}")
    lines += ["", f"  Open        {root}/"]
    lines += [f"  and         {root}/{name}/" for name in generation.apps if name != generation.default]
    lines += [f"  {layer:<11} {root}{path}" for layer, path in _served_first(config["tiles"])]
    lines += [f"  TileJSON    {root}/tilejson.json", f"  WMTS        {root}/WMTSCapabilities.xml", ""]
    return "\n".join([*lines, "  Press Ctrl+C to stop."])


def address_of(host: str, port: int) -> str:
    """Return the address that a browser on this machine opens."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - only shown, not listened on
    shown = everywhere.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def _served_first(tiles: dict[str, str]) -> list[tuple[str, str]]:
    """Layers with the paths of their tiles, in the order of LAYERS."""
    return [(layer, tiles[layer]) for layer in LAYERS if layer in tiles]
