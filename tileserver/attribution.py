"""Title, year, credit and AI notice of a map."""

from __future__ import annotations

import html

from tileserver.service import TileService
from tileserver.tiling.layer import AI_LAYERS


def ai_header(service: TileService) -> str:
    """Return the value of the X-Orthosharp header, which names the model and its digest."""
    restorer = service.restorer
    return f"AI-restored; model={restorer.spec.name}; digest={restorer.digest}"


def ai_notice(service: TileService) -> str:
    """Return the AI notice for people, such as "AI-restored by compact (0123456789ab)"."""
    return f"AI-restored by {service.restorer.spec.name} ({service.restorer.digest[:12]})"


def title(service: TileService) -> str:
    """Return the map's title: the setting `name`, or the photograph's file name."""
    return service.settings.name or service.old.info.name


def year(service: TileService) -> int | None:
    """Return the year of the old photograph, from the setting, its name or its tags; None if nothing tells."""
    return service.settings.year or service.old.info.year


def new_year(service: TileService) -> int | None:
    """Return the year of the later photograph, likewise; None without one."""
    return service.settings.new_year or (service.new.info.year if service.new else None)


def taken(service: TileService, layer: str) -> str:
    """Return when the photograph of a layer was taken: a date, an interval (`DATE/DATE`), or a year; may be empty."""
    is_new = layer == "new" and service.new is not None
    source = service.new if is_new and service.new else service.old
    return source.info.date or str((new_year if is_new else year)(service) or "")


def credit(service: TileService) -> str:
    """Return the copyright holders of the photographs: the setting `credit`, or what the files say."""
    if service.settings.credit is not None:
        return service.settings.credit
    found = [source.info.credit for source in (service.old, service.new) if source]
    return "; ".join(dict.fromkeys(text for text in found if text))


def description(service: TileService, layer: str) -> str:
    """Return credit, date and AI notice of a layer as plain text, for programs that show no HTML."""
    date = taken(service, layer)
    notes = [credit(service), f"taken {date}" if date else ""]
    return " | ".join(filter(None, [*notes, ai_notice(service) if layer in AI_LAYERS else ""]))


def attribution(service: TileService, layer: str) -> str:
    """Return a layer's credit and AI notice, escaped: most clients insert an attribution into a page as HTML."""
    notes = [html.escape(credit(service))] if credit(service) else []
    if layer in AI_LAYERS:
        restorer = service.restorer
        notes.append(f"AI-restored ({html.escape(restorer.spec.name)}, {restorer.digest[:12]})")
    return " | ".join(notes)
