"""`orthosharp serve`: parse, call, report."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import uvicorn

from tileserver.attribution import title
from tileserver.cli.config_file import read_config
from tileserver.cli.exits import refusing
from tileserver.cli.options import make_settings
from tileserver.errors import OutsideError, SettingsError, StartError, TileServerError
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.tiling.grid import BBox
from tileserver.tiling.layer import WEB_MERCATOR
from tileserver.web.maps import Site, open_generation
from tileserver.web.tilejson import tile_path

# Name of the only map.
MAIN = "map"


@click.command()
@click.argument("source", required=False)
@click.option("--new", help="A later photograph of the same ground, to compare with.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file [default: the bundled one].")
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=int, help="Port to listen on [default: 8000]; 0 takes a free one.")
@click.option("--runtime", type=click.Choice(["auto", "torch", "openvino"]), help="What runs the network.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where it runs.")
@click.option("--bands", metavar="R,G,B", help="Bands to show, counted from 1; one band is shown in grey.")
@click.option("--rescale", metavar="MIN,MAX", help="Values that become black and white.")
@click.option("--new-bands", metavar="R,G,B", help="Bands of the later photograph, as --bands.")
@click.option("--new-rescale", metavar="MIN,MAX", help="Range of the later photograph, as --rescale.")
@click.option(
    "--tone", type=click.Choice(["model", "old"]), help="Whose colours: the network's or the old photo's."
)
@click.option("--contrast", type=float, help="Factor around middle grey, 0.5 to 2 [default: 1].")
@click.option(
    "--store", help="Keeps tiles: a folder, s3://, gs://, az://, or what seed made: X.mbtiles, X.pmtiles."
)
@click.option("--store-bytes", type=int, help="Bound of that folder; the oldest tiles make room.")
@click.option("--overload", type=click.Choice(["refuse", "old"]), help="When busy: 503, or the old picture.")
@click.option("--credit", help="Whose photograph it is [default: what the file says].")
@click.option("--name", help="Title of the page [default: the file's name].")
@click.option("--config", type=click.Path(path_type=Path), help="An orthosharp.toml with several maps.")
@click.option("--demo", is_flag=True, help="Serve the example of the repository.")
@click.option("--access-log", is_flag=True, help="Print every request.")
def serve(*, config: Path | None, demo: bool, access_log: bool, **options: Any) -> None:
    """Serve SOURCE, a georeferenced TIFF. Options can also be set in the environment, as ORTHOSHARP_PORT."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)

    def load() -> dict[str, Settings]:
        if config is not None and (demo or options["source"]):
            raise SettingsError("--config names the photographs: leave SOURCE and --demo out")
        if config is None:
            return {MAIN: make_settings(options, demo=demo)}
        return read_config(config, {name: value for name, value in options.items() if value is not None})

    with refusing():
        settings = next(iter(load().values()))
        with listen(settings.host, settings.port) as listener:
            run(load, listener, access_log=access_log)


def run(load: Callable[[], dict[str, Settings]], listener: socket.socket, *, access_log: bool) -> None:
    """Open everything, try it out, say where it is, and serve until Ctrl+C.

    Args:
        load: settings of every map, the default first; called again at a reload.
        listener: where to serve.
        access_log: whether to print every request.

    Raises:
        StartError, sr_model.SrModelError: something cannot be served.
    """
    maps = load()
    settings = next(iter(maps.values()))
    shared = Shared(settings)
    try:
        click.echo("Warming up the network ...", err=True)
        first = open_generation(maps, shared)
    except StartError:
        raise
    except OutsideError as error:
        raise StartError(str(error)) from error
    except TileServerError as error:
        raise StartError(f"the network could not restore a sample of the photograph: {error}") from error
    for service in first.services:
        report(service)
    site = Site(first, shared, lambda: open_generation(load(), shared))
    click.echo(banner(first.services[0], settings.host, listener.getsockname()[1], list(maps)[1:]))
    config = uvicorn.Config(
        site,
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
    )
    # Uvicorn has shut down in order by the time it passes Ctrl+C on.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything slow happens.

    Raises:
        SettingsError: the port is taken, or the address is not this machine's.
    """
    if not host:
        raise SettingsError("--host is empty: give an address such as 127.0.0.1, or 0.0.0.0 for all")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another with --port, or --port 0"
        ) from error
    return listener


def report(service: TileService) -> None:
    """Print what could be better."""
    for source in filter(None, (service.old, service.new)):
        for warning in source.info.warnings:
            click.echo(f"warning: {source.info.name}: {warning}", err=True)
    if service.new and not overlap(service.old.info.bounds_lonlat, service.new.info.bounds_lonlat):
        click.echo(
            "warning: the later photograph shows other ground than the old one: check what --new names",
            err=True,
        )


def overlap(one: BBox, other: BBox) -> bool:
    """Whether two rectangles share ground."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def banner(service: TileService, host: str, port: int, others: Sequence[str] = ()) -> str:
    """What to open and what to paste; `others` names maps besides the default one."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - only shown, not listened on
    shown = everywhere.get(host, f"[{host}]" if ":" in host else host)
    root = f"http://{shown}:{port}"
    lines = [
        f"\n  orthosharp serves {title(service)}",
        f"  restored by {service.restorer.spec.name} on {service.restorer.runtime}",
        "",
    ]
    lines.append(f"  Open        {root}/")
    lines += [f"  and         {root}/{name}/" for name in others]
    lines += [f"  {layer:<11} {root}{tile_path(layer, WEB_MERCATOR)}" for layer in service.rasters.layers]
    lines += [
        f"  TileJSON    {root}/tilejson.json",
        f"  WMTS        {root}/restored/WMTSCapabilities.xml",
        "",
    ]
    return "\n".join([*lines, "  Press Ctrl+C to stop."])
