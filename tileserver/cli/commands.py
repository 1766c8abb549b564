"""The commands of `orthosharp`: arguments and options, and what each of them calls.

What takes time to import is imported when a command has been understood, so that help and refusals come at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click

from tileserver.cli.config_file import read_maps
from tileserver.cli.exits import ending_quietly, refusing, run_and_exit
from tileserver.cli.logs import refusing_as_lines, set_up_logs, use_format
from tileserver.cli.options import (
    SettingsCommand,
    config_option,
    job_options,
    job_settings,
    settings_options,
)
from tileserver.cli.ray_options import ray_job_options, ray_serve_options
from tileserver.cli.workers import become_worker, check_workers
from tileserver.errors import OutsideError, ReadError, SettingsError, StoreError
from tileserver.jobs.seed.names import check_output_name
from tileserver.names import check_exists
from tileserver.settings import Settings
from tileserver.tiling.extension import MEDIA_TYPES
from tileserver.tiling.layer import WEB_MERCATOR

_DEMO: Final = Path(__file__).parents[1] / "demo"
_DEMO_SETTINGS: Final = {
    "source": str(_DEMO / "2010.tif"),
    "new": str(_DEMO / "2017.tif"),
    "name": "Demo: a village in 2010",
}


class Zooms(click.ParamType):  # type: ignore[type-arg]
    """'12-19' or '17'."""

    name = "zooms"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse one zoom or a range; a usage error if it is neither."""
        found = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", str(value))
        if not found:
            self.fail(f"{value!r} is not a range of zooms such as 12-19", param, ctx)
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            self.fail(f"{value!r} ends before it begins: give FIRST-LAST, such as 12-19", param, ctx)
        return first, last


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """'90', '90s', '45m' or '2h'."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a duration into seconds; a usage error if it is not one."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value))
        if not found:
            self.fail(f"{value!r} is not a time such as 90s, 45m or 2h", param, ctx)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


@click.command(cls=SettingsCommand)
@click.argument("source", nargs=-1)
@settings_options("serve")
@config_option
@click.option("--demo", is_flag=True, help="Serve the photographs of a village that come with orthosharp.")
@click.option("--access-log", is_flag=True, help="Log every request.")
@ray_serve_options
def serve(
    *, given: dict[str, Any], config: Path | None, demo: bool, access_log: bool, **cluster: Any
) -> None:
    """Serve SOURCE, a georeferenced TIFF, several of different years, or what `orthosharp seed` made.

    Every setting below can also come from the environment, as ORTHOSHARP_PORT, or from the file of --config.
    """

    def load() -> dict[str, Settings]:
        """The settings of every map, the default first; read again at each reload."""
        if not demo:
            return read_maps(given, config)
        for other, is_given in (("--config", config is not None), ("SOURCE", bool(given.get("source")))):
            if is_given:
                raise SettingsError(
                    f"{other} and --demo are mutually exclusive: --demo serves photographs of its own"
                )
        return read_maps({**_DEMO_SETTINGS, **given}, None)

    set_up_logs()
    with refusing():
        maps = load()
        first = next(iter(maps.values()))
        use_format(first.log_format)
        with refusing_as_lines():
            for settings in maps.values():
                check_exists(settings.source)
            if cluster["ray_address"]:
                if first.workers > 1:
                    raise SettingsError(
                        "--workers and --ray are mutually exclusive: with --ray, use --replicas"
                    )
                from tileserver.cli.serve_on_ray import start_on_ray

                start_on_ray(load, access_log=access_log, **cluster)
                return
            check_workers(maps.values())
            # Before anything is imported that starts threads, which would not be there in the workers.
            worker = become_worker(first.workers, first.host, first.port) if first.workers > 1 else None
            from tileserver.cli.serve import start

            with ending_quietly():
                start(maps, load, access_log=access_log, worker=worker)


@click.command(cls=SettingsCommand)
@click.argument("source", nargs=-1, required=True)
@settings_options("info")
@click.option(
    "--estimate/--no-estimate",
    "estimated",
    default=True,
    show_default=True,
    help="Restore a few samples, to tell how long all of it takes on this machine.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Report in JSON; every warning has a code and its text."
)
def info(*, given: dict[str, Any], estimated: bool, as_json: bool) -> None:
    """Describe SOURCE, say what is wrong with it, and what the network will do with it."""
    with refusing(OutsideError, ReadError):
        settings = job_settings(given)
        check_exists(settings.source)
        from tileserver.cli.info import describe

        with ending_quietly():
            describe(settings, estimated=estimated, as_json=as_json)


@click.command(cls=SettingsCommand)
@click.argument("source", nargs=-1, required=True)
@click.argument("output")
@settings_options("seed")
@click.option(
    "--zooms",
    type=Zooms(),
    metavar="FIRST-LAST",
    show_default="all up to the network's native zoom",
    help="Zooms to seed.",
)
@click.option(
    "--format", type=click.Choice(list(MEDIA_TYPES)), default="webp", show_default=True, help="Image format."
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    metavar="N",
    show_default="that of the server",
    help="Quality of webp or jpg.",
)
@click.option(
    "--scale",
    type=click.Choice(["1", "2"]),
    default="1",
    show_default=True,
    help="2 makes tiles of 512 px for high-density displays.",
)
@click.option("--tms", default=WEB_MERCATOR, show_default=True, metavar="ID", help="Tile matrix set.")
@click.option("--skip-empty", is_flag=True, help="Leave out tiles without any pixel of the photograph.")
@click.option("--dry-run", is_flag=True, help="Estimate tiles, size and time from a sample; write nothing.")
@click.option(
    "--refresh-before",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Make all tiles again if the existing ones were begun before this date.",
)
@click.option(
    "--changed-only",
    is_flag=True,
    help="Make all tiles again if the photograph or the weights changed; in a folder, rewrite only those that differ.",
)
@click.option(
    "--time-limit",
    type=Seconds(),
    metavar="TIME",
    help="Stop cleanly after 90s, 45m or 2h; the same command continues.",
)
@job_options
@ray_job_options
def seed(output: str, *, given: dict[str, Any], **options: Any) -> None:
    """Restore SOURCE into tiles in OUTPUT: X.mbtiles, X.pmtiles, a folder, or s3://, gs://, az://.

    If interrupted, run the same command again to continue. Exit codes: 0 done; 1 done except for failures, which are
    listed in a file, or stopped by a full disk; 2 refused; 130 interrupted.
    """
    with refusing():
        check_output_name(output)
        check_exists(job_settings(given).source)
    from tileserver.cli.seed import seed_tiles

    run_and_exit(lambda: seed_tiles(output, given, options))


@click.command(cls=SettingsCommand)
@click.argument("source", nargs=-1, required=True)
@click.argument("output", type=click.Path(path_type=Path))
@settings_options("restore")
@click.option(
    "--tms", metavar="ID", help="Use the pixel grid of this tile matrix set, such as WebMercatorQuad."
)
@click.option(
    "--chips",
    type=click.IntRange(16, 8192),
    metavar="PX",
    help="Write images of this side length, with world files, into the folder OUTPUT.",
)
@click.option(
    "--format",
    type=click.Choice(["png", "jpg"]),
    default="png",
    show_default=True,
    help="Format of the chips.",
)
@job_options
@ray_job_options
def restore(output: Path, *, given: dict[str, Any], **options: Any) -> None:
    """Restore SOURCE into OUTPUT, a COG in the CRS of SOURCE at the pixel size of the network.

    If interrupted, run the same command again to continue. Exit codes: 0 done; 1 done except for failures, which are
    listed in a file, or stopped by a full disk; 2 refused; 130 interrupted.
    """
    with refusing():
        check_exists(job_settings(given).source)
    from tileserver.cli.restore import restore_raster

    run_and_exit(lambda: restore_raster(output, given, options))


@click.group()
def cache() -> None:
    """Inspect and clean a store of tiles."""


@cache.command("info")
@click.argument("store")
def list_store(store: str) -> None:
    """List the contents of STORE: tiles and bytes for each photograph, network and recipe."""
    with refusing(StoreError):
        from tileserver.cli.cache import list_contents

        with ending_quietly():
            list_contents(store)


@cache.command(cls=SettingsCommand)
@click.argument("store")
@click.argument("source", nargs=-1)
@settings_options("cache clean")
@config_option
@click.option("--dry-run", is_flag=True, help="Report how much would be freed; delete nothing.")
def clean(store: str, *, given: dict[str, Any], config: Path | None, dry_run: bool) -> None:
    """Delete all tiles in STORE except those that SOURCE is served with now.

    Give the options and the environment that serve runs with: they decide which tiles are kept. If several maps share
    STORE, give their --config instead of SOURCE: the tiles of all of them are kept. Tiles of other hosts that serve
    the same photograph with the same network and options are kept as well, whatever runtime and libraries made them.
    """
    with refusing(StoreError):
        from tileserver.cli.cache import clean_store

        with ending_quietly():
            clean_store(store, lambda: read_maps(given, config), dry_run=dry_run)
