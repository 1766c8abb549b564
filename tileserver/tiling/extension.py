"""The image formats of tiles, by the extension of their files."""

from __future__ import annotations

from typing import Literal

Extension = Literal["png", "webp", "jpg"]
