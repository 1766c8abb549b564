"""Common parts of the HTML reports: templates, and pictures inside the page."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

PICTURE_PX: Final = 320


def render(template: str, **values: Any) -> str:
    """Fill a template, an HTML page or Markdown; a page needs no other file and no network."""
    environment = Environment(
        loader=PackageLoader("training"),
        autoescape=select_autoescape(),  # HTML; Markdown is not escaped
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(template).render(**values)


def data_url(rgb: npt.NDArray[np.uint8]) -> str:
    """A picture as a JPEG inside a URL, `PICTURE_PX` at most on a side."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
