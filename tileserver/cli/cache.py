"""`orthosharp cache info | clean`: lists a store of tiles, and deletes those that are not served any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from tileserver.cache.object_store import UNDATED, ObjectTiles
from tileserver.cache.open_store import open_store
from tileserver.errors import StoreError
from tileserver.service import identify
from tileserver.settings import Settings


def list_contents(store: str) -> None:
    """Print tiles and bytes for each photograph, network and recipe in a store.

    Raises:
        StoreError: it does not exist, is an archive, or cannot be read.
    """
    contents = _open(store).contents()
    for content in contents:
        about = ", ".join(f"{key} {value}" for key, value in content.about.items() if key != UNDATED)
        click.echo(f"{content.content[:12]}  {content.tiles:>9} tiles {content.nbytes:>14} bytes  {about}")
    total = sum(content.nbytes for content in contents)
    click.echo(f"{sum(content.tiles for content in contents)} tiles, {total} bytes")


def clean_store(store: str, read: Callable[[], Mapping[str, Settings]], *, dry_run: bool) -> None:
    """Delete all tiles in a store except those of the maps that are served.

    Args:
        store: where the tiles are.
        read: gives the settings of the maps, once the store was found.
        dry_run: only print how much would be freed.

    Raises:
        StoreError: as `list_contents`.
        StartError, sr_model.SrModelError: a map could not be served, so what is to be kept is not known.
    """
    opened = _open(store)
    served = [identify(settings) for settings in read().values()]
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
