"""Content negotiation: which of several media types a client prefers."""

from __future__ import annotations

from collections.abc import Sequence

# More than any client sends; the rest of a longer header is ignored.
_MAX_RANGES = 50


def preferred(header: str, offered: Sequence[str]) -> str | None:
    """Return the media type that an Accept header prefers (RFC 9110, section 12.5.1).

    Args:
        header: value of Accept; empty if the client sends none.
        offered: media types, the server's own preference first.

    Returns:
        The one with the highest quality, of equals the first; None if the header accepts none of them.
    """
    ranges = qualities(header) if header.strip() else [("*/*", 1.0)]
    rated = [(_quality(media_type, ranges), media_type) for media_type in offered]
    best = max(rated, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] > 0 else None


def qualities(header: str) -> list[tuple[str, float]]:
    """Return the names in a header of the family of Accept, in lower case, each with its quality (RFC 9110, 12.4.2)."""
    return [_range(part) for part in header.split(",")[:_MAX_RANGES]]


def _range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = next((value[2:] for value in parameters if value.startswith("q=")), "1")
    try:
        return name, min(max(float(quality), 0.0), 1.0)
    except ValueError:
        return name, 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality of the most specific range that covers a type."""
    for wanted in (media_type, f"{media_type.split('/')[0]}/*", "*/*"):
        found = [quality for name, quality in ranges if name == wanted]
        if found:
            return max(found)
    return 0.0
