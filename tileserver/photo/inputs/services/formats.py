"""Which image format a service is asked for: one with transparency, if there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tileserver.errors import SourceError
from tileserver.photo.inputs.services.documents import listed
from tileserver.photo.notice import Notice

# JPEG inside of the photograph and PNG at its edge come first, as they are stored; names of ArcGIS and GeoServer.
_PREFERRED: Final = (
    "image/jpgpng",
    "image/vnd.jpeg-png",
    "image/vnd.jpeg-png8",
    "image/png",
    "image/png32",
    "image/png; mode=32bit",
    "image/webp",
    "image/png24",
    "image/png; mode=24bit",
    "image/jpeg",
    "image/jpg",
)
_OPAQUE: Final = ("image/jpeg", "image/jpg")


@dataclass(frozen=True)
class ImageFormat:
    """A format.

    Attributes:
        name: media type, as the service writes it.
        warnings: what it cannot do.
    """

    name: str
    warnings: tuple[Notice, ...]


def choose_format(offered: Sequence[str], wanted: str | None, where: str) -> ImageFormat:
    """Choose a format.

    Args:
        offered: media types.
        wanted: the one that the user names; None to choose.
        where: layer and service, for messages.

    Raises:
        SourceError: it is not offered, or none of them is an image that can be read.
    """
    known = {name.lower(): name for name in offered}
    if wanted is not None:
        wanted = wanted if "/" in wanted else f"image/{wanted}"
    chosen = [wanted.lower()] if wanted else list(_PREFERRED)
    name = next((known[one] for one in chosen if one in known), None)
    if name is None:
        raise SourceError(
            f"{where} has no format {wanted}: it has {listed(offered)}"
            if wanted
            else f"{where} has no format that can be shown: it has {listed(offered)}"
        )
    if name.lower() not in _OPAQUE:
        return ImageFormat(name, ())
    return ImageFormat(
        name,
        (
            Notice(
                "service-without-transparency",
                f"{name} has no transparency, so ground without a photograph has the service's background. "
                "Plain borders are masked; --footprint hides the rest"
                + ("" if wanted is None else ". Leave out ,format= to get a format with transparency"),
            ),
        ),
    )
