"""Names that HTTP headers can carry."""

from __future__ import annotations

import unicodedata


def plain_name(text: str) -> str:
    """Return a name that fits into a header, made of another one such as a file's: `Stadt Köln` is `Stadt Koln`."""
    letters = unicodedata.normalize("NFKD", text)
    kept = (c for c in letters if not unicodedata.combining(c))
    return (
        "".join(c if c.isascii() and (c.isalnum() or c in "._ -") else "-" for c in kept)[:64].strip() or "-"
    )
