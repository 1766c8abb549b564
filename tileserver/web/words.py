"""The words of the page for those pages that the server writes: one file for each language in `viewer/words`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tileserver.web.accept import qualities

VIEWER_FOLDER: Final = Path(__file__).parents[1] / "viewer"
# The first is that of readers of all other languages.
LANGUAGES: Final = ("en", "de", "fr", "es")


def language_of(header: str) -> str:
    """Return the language that an Accept-Language header prefers (RFC 9110, section 12.5.4), of those that there are.

    Args:
        header: such as `de-AT, de;q=0.9, en;q=0.5`; empty if the client sends none.
    """
    rated = [(quality, name.split("-")[0]) for name, quality in qualities(header) if quality > 0]
    known = [(quality, name) for quality, name in rated if name in LANGUAGES]
    # max() takes the first of equals, as the header has them in the reader's order.
    return max(known, key=lambda pair: pair[0], default=(0.0, LANGUAGES[0]))[1]


@cache
def words(language: str) -> Mapping[str, str]:
    """Return the words in one of the `LANGUAGES`, by key."""
    text = (VIEWER_FOLDER / "words" / f"{language}.json").read_text(encoding="utf-8")
    found: Mapping[str, str] = json.loads(text)
    return found
