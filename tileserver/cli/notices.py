"""How notes and warnings about photographs are shown."""

from __future__ import annotations

from collections.abc import Iterable

import click

from tileserver.photo.source import Source


def say_findings(sources: Iterable[Source | None], map_name: str = "") -> None:
    """Print what was found in photographs and what is wrong with them, to stderr, one line each.

    Args:
        sources: photographs; None is passed over.
        map_name: name of their map, where there are several.
    """
    place = f"{map_name}: " if map_name else ""
    for source in filter(None, sources):
        for note in source.info.notes:
            click.echo(f"note: {place}{source.info.name}: {note}", err=True)
        for warning in source.info.warnings:
            click.echo(f"warning: {place}{source.info.name}: {warning}", err=True)
