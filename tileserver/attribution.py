"""What the server says about its pictures: whose they are, and that a network made them."""

from __future__ import annotations

import html
from typing import Final

from tileserver.service import TileService

# Layers that the network had a hand in.
AI_LAYERS: Final = ("restored", "difference")


def ai_header(service: TileService) -> str:
    """Value of the header that restored pictures carry."""
    restorer = service.restorer
    return f"AI-restored; model={restorer.spec.name}; digest={restorer.digest}"


def ai_notice(service: TileService) -> str:
    """The same for readers."""
    return f"AI-restored by {service.restorer.spec.name} ({service.restorer.digest[:12]})"


def title(service: TileService) -> str:
    """Name of the map."""
    return service.settings.name or service.old.info.name


def credit(service: TileService) -> str:
    """Whose photographs these are."""
    if service.settings.credit is not None:
        return service.settings.credit
    found = [source.info.credit for source in (service.old, service.new) if source]
    return "; ".join(dict.fromkeys(text for text in found if text))


def attribution(service: TileService, layer: str) -> str:
    """Credit and AI notice of a layer as HTML, which most clients put into a page as it is."""
    notes = [html.escape(credit(service))] if credit(service) else []
    if layer in AI_LAYERS:
        restorer = service.restorer
        notes.append(f"AI-restored ({html.escape(restorer.spec.name)}, {restorer.digest[:12]})")
    return " | ".join(notes)
