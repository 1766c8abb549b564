"""Pixels to bytes and media type."""

from __future__ import annotations

import io
from typing import Final, Literal

import numpy as np
from PIL import Image

from tileserver.tiling.raster import Raster

Extension = Literal["png", "webp", "jpg"]

MEDIA_TYPES: Final[dict[Extension, str]] = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}
JPEG_QUALITY: Final = 88
WEBP_QUALITY: Final = 85
# Half the time of libwebp's default, 4, for tiles that are 2 % larger.
WEBP_METHOD: Final = 2


def default_quality(extension: Extension) -> int | None:
    """The quality that the server encodes with; None where the format loses nothing."""
    return {"jpg": JPEG_QUALITY, "webp": WEBP_QUALITY}.get(extension)


def encode(raster: Raster, extension: Extension, quality: int | None = None) -> bytes:
    """Encode a picture; what has no data is transparent, or white where the format has no transparency.

    Args:
        raster: the picture.
        extension: the format.
        quality: 1 to 100 where the format has one; by default the server's.

    Returns:
        The file's bytes; none at all for a JPEG without any data, which HTTP says as 204.
    """
    if extension == "jpg":
        return (
            b""
            if raster.is_empty
            else _save(_on_white(raster), "JPEG", quality=quality or JPEG_QUALITY, subsampling=0)
        )
    pixels = raster.rgb if raster.is_full else np.dstack([raster.rgb, raster.mask])
    image = Image.fromarray(pixels)
    if extension == "png":
        return _save(image, "PNG", compress_level=6)
    # exact=False lets the encoder choose hidden colours, which costs nothing visible.
    return _save(image, "WEBP", quality=quality or WEBP_QUALITY, method=WEBP_METHOD)


def is_whole(body: bytes, extension: Extension) -> bool:
    """Whether bytes begin and end as a file of the format does; damage in between is not looked for."""
    if extension == "png":
        return body.startswith(b"\x89PNG\r\n\x1a\n") and body.endswith(b"IEND\xaeB`\x82")
    if extension == "jpg":
        return body.startswith(b"\xff\xd8\xff") and body.endswith(b"\xff\xd9")
    # RIFF gives the length of what follows its first eight bytes.
    return (
        body[:4] == b"RIFF" and body[8:12] == b"WEBP" and int.from_bytes(body[4:8], "little") == len(body) - 8
    )


def _on_white(raster: Raster) -> Image.Image:
    return Image.fromarray(np.where(raster.mask[..., None] != 0, raster.rgb, np.uint8(255)))


def _save(image: Image.Image, driver: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, driver, **options)
    return buffer.getvalue()
