"""Images that services send: checked, and decoded to red, green, blue and alpha."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tileserver.photo.inputs.services.client import Reply
from tileserver.photo.inputs.services.documents import exception_text

MOST_IMAGE_BYTES: Final = 32 * 2**20
_MOST_SIDE_PX: Final = 4096
# No content, no such tile, and gone: what services answer where there is no photograph.
_GAPS: Final = (204, 404, 410)
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")


class ImageFault(Exception):  # noqa: N818 - see ServiceFault
    """What a service sent is not an image that can be shown."""


def is_gap(reply: Reply) -> bool:
    """Whether an answer means that there is no photograph: none, or OGC's exception for a tile out of range."""
    return reply.status in _GAPS or (reply.status in (200, 400) and b"TileOutOfRange" in reply.body[:4096])


def image_size(body: bytes) -> tuple[int, int]:
    """Return width and height of an image.

    Raises:
        ImageFault: it is not one, or too large.
    """
    with _opened(body) as image:
        return image.size


def decode(body: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return an image as uint8 [height, width, 4]: red, green, blue, alpha.

    Args:
        body: the encoded image.
        size: width and height that it must have.

    Raises:
        ImageFault: it is not an image, is damaged, has another size or more than 8 bits.
    """
    with _opened(body) as image:
        if image.size != size:
            raise ImageFault(
                f"the image has {image.width} x {image.height} px where {size[0]} x {size[1]} were announced"
            )
        if image.mode.startswith(("I", "F")):
            raise ImageFault("the image has more than 8 bits: ask for another format")
        try:
            pixels: npt.NDArray[np.uint8] = np.asarray(image.convert("RGBA"))
        except (OSError, ValueError, SyntaxError) as error:
            raise ImageFault(f"the image is damaged ({error})") from error
    return pixels


def _opened(body: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(body), formats=_FORMATS)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageFault(_words(body)) from error
    if max(image.size) > _MOST_SIDE_PX:
        raise ImageFault(f"the image has {image.width} x {image.height} px")
    return image


def _words(body: bytes) -> str:
    """What a service says in place of an image."""
    try:
        return exception_text(ET.fromstring(body))  # noqa: S314 - expat bounds what entities expand to
    except ET.ParseError:
        start = " ".join(body[:80].decode("utf-8", "replace").split())
        return f"it begins with {start!r}" if start else "it is empty"
