"""The image formats of tiles, by the extension of their files."""

from __future__ import annotations

from typing import Final, Literal

Extension = Literal["png", "webp", "jpg"]
MEDIA_TYPES: Final[dict[Extension, str]] = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}
