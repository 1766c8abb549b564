"""`orthosharp cache info | clean`: lists a store of tiles, and deletes those that are not served any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tileserver.cache.object_store import UNDATED, ObjectTiles
from tileserver.cache.open_store import open_store
from tileserver.cli.config_file import read_maps
from tileserver.cli.exits import refusing
from tileserver.cli.options import SettingsCommand, config_option, settings_options
from tileserver.errors import StoreError
from tileserver.service import identify


@click.group()
def cache() -> None:
    """Inspect and clean a store of tiles."""


@cache.command()
@click.argument("store")
def info(store: str) -> None:
    """List the contents of STORE: tiles and bytes for each photograph, network and recipe."""
    with refusing(StoreError):
        contents = _open(store).contents()
    for content in contents:
        about = ", ".join(f"{key} {value}" for key, value in content.about.items() if key != UNDATED)
        click.echo(f"{content.content[:12]}  {content.tiles:>9} tiles {content.nbytes:>14} bytes  {about}")
    total = sum(content.nbytes for content in contents)
    click.echo(f"{sum(content.tiles for content in contents)} tiles, {total} bytes")


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
        opened = _open(store)
        served = [identify(settings) for settings in read_maps(given, config).values()]
        kept = {name for identity in served for name in (identity.content, identity.undated)}
        freed = 0
        for content in opened.contents():
            if not kept & {content.content, content.about.get(UNDATED)}:
                freed += content.nbytes
                if not dry_run:
                    opened.remove(content.content)
    click.echo(f"{freed} bytes {'can be freed' if dry_run else 'freed'}")


def _open(store: str) -> ObjectTiles:
    if "://" not in store and not Path(store).exists():
        raise StoreError(f"{store} does not exist: name the store that serve uses as --store")
    opened = open_store(store)
    if not isinstance(opened, ObjectTiles):
        opened.close()
        raise StoreError(f"{store} is an archive, from which tiles cannot be deleted: seed it again")
    return opened
