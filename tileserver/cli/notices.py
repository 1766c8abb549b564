"""How warnings about photographs are shown."""

from __future__ import annotations

from collections.abc import Iterable

import click

from tileserver.photo.source import Source


def say_warnings(sources: Iterable[Source | None], map_name: str = "") -> None:
    """Print what users should know of photographs, to stderr.

    Args:
        sources: photographs; None is passed over.
        map_name: name of their map, where there are several.
    """
    place = f"{map_name}: " if map_name else ""
    for source in filter(None, sources):
        for warning in source.info.warnings:
            click.echo(f"warning: {place}{source.info.name}: {warning}", err=True)
