"""`orthosharp cache info | clean`: what a store of tiles holds, and freeing what can never be served again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tileserver.cache.object_store import ObjectTiles
from tileserver.cache.open_store import open_store
from tileserver.cli.config_file import read_config
from tileserver.cli.exits import refusing
from tileserver.cli.options import make_settings
from tileserver.errors import SettingsError, StoreError
from tileserver.service import TileService
from tileserver.settings import Settings


@click.group()
def cache() -> None:
    """Look at a store of tiles, and clean it."""


@cache.command()
@click.argument("store")
def info(store: str) -> None:
    """Show what STORE holds: tiles and bytes of each photograph, network and recipe."""
    with refusing(StoreError):
        contents = _open(store).contents()
    for content in contents:
        about = ", ".join(f"{key} {value}" for key, value in content.about.items())
        click.echo(f"{content.content[:12]}  {content.tiles:>9} tiles {content.nbytes:>14} bytes  {about}")
    total = sum(content.nbytes for content in contents)
    click.echo(f"{sum(content.tiles for content in contents)} tiles, {total} bytes")


@cache.command()
@click.argument("store")
@click.argument("source", required=False)
@click.option("--new", help="The later photograph that it is served with.")
@click.option("--weights", type=click.Path(path_type=Path), help="The weights it is served with.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="The orthosharp.toml of its maps, for SOURCE."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be freed.")
def clean(store: str, *, config: Path | None, dry_run: bool, **options: Any) -> None:
    """Free what STORE holds of other photographs, networks and recipes than SOURCE is served with now.

    Of a store that several maps share, give --config: what any of them shows is kept.

    All else that decides pixels (--bands, tone and the like) comes from the environment, as for serve.
    """
    with refusing(StoreError):
        opened = _open(store)
        given = {name: value for name, value in options.items() if value is not None}
        if config is not None and "source" in given:
            raise SettingsError("--config names the photographs: leave SOURCE out")
        maps = read_config(config, given) if config else {"": make_settings(given, demo=False)}
        kept = {_content(settings) for settings in maps.values()}
        freed = 0
        for content in opened.contents():
            if content.content not in kept:
                freed += content.nbytes
                if not dry_run:
                    opened.remove(content.content)
    click.echo(f"{freed} bytes {'can be freed' if dry_run else 'freed'}")


def _content(settings: Settings) -> str:
    """What the keys of a map's tiles begin with."""
    service = TileService(settings.model_copy(update={"store": None}))
    service.close()
    return service.content


def _open(store: str) -> ObjectTiles:
    if "://" not in store and not Path(store).exists():
        raise StoreError(f"there is no {store}: name the one that serve was given as --store")
    opened = open_store(store)
    if not isinstance(opened, ObjectTiles):
        opened.close()
        raise StoreError(f"{store} is an archive, of which nothing can be freed: seed it again")
    return opened
