"""How notes and warnings about photographs are shown."""

from __future__ import annotations

from collections.abc import Iterable

from tileserver.cli.logs import say
from tileserver.photo.source import Source


def say_findings(sources: Iterable[Source | None], map_name: str = "") -> None:
    """Print what was found in photographs and what is wrong with them, to stderr, one line each.

    Args:
        sources: photographs; None is passed over.
        map_name: name of their map, where there are several.
    """
    for source in filter(None, sources):
        # A map is often named after its photograph.
        names = [map_name, source.info.name] if map_name not in ("", source.info.name) else [source.info.name]
        place = ": ".join(names)
        for note in source.info.notes:
            say(f"{place}: {note}", "note")
        for warning in source.info.warnings:
            say(f"{place}: {warning}", "warning")
