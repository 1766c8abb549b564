"""A comparison sheet: one picture with a row per chip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from sr_model.photo import PhotoContext
from sr_model.restorer import Restorer
from training.data.dataset import load_pairs
from training.data.manifest import ratio_of, read_site
from training.evaluate.methods import make_pictures

UInt8Array = npt.NDArray[np.uint8]

_SHEET_PX: Final = 320


def comparison_sheet(
    restorer: Restorer, folders: Sequence[Path], rows: int, credit: Sequence[str]
) -> Image.Image:
    """A picture with a row per chip, spread over the validation blocks: bicubic, unsharp mask, restored, new.

    Args:
        restorer: the network.
        folders: sites.
        rows: chips per site.
        credit: one per site, printed on its rows.
    """
    strips = []
    for folder, owner in zip(folders, credit, strict=True):
        pairs = load_pairs([folder], "validation")
        chosen = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(rows, len(pairs))).round().astype(int)]
        made = make_pictures(restorer, chosen, PhotoContext(ratio_of(read_site(folder))))
        strips += [(f"{pair.name}   {owner}", [made[m][i] for m in made]) for i, pair in enumerate(chosen)]
    return _draw(strips, ("old, bicubic", "unsharp mask", "restored", "new"))


def _draw(strips: Sequence[tuple[str, Sequence[UInt8Array]]], titles: Sequence[str]) -> Image.Image:
    gap, text = 4, 16
    sheet = Image.new(
        "RGB", (len(titles) * (_SHEET_PX + gap) - gap, text + len(strips) * (_SHEET_PX + gap + text)), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((column * (_SHEET_PX + gap) + 2, 2), title, fill="black")
    for row, (label, pictures) in enumerate(strips):
        top = text + row * (_SHEET_PX + gap + text)
        for column, picture in enumerate(pictures):
            start = (picture.shape[0] - _SHEET_PX) // 2
            part = picture[start : start + _SHEET_PX, start : start + _SHEET_PX]
            sheet.paste(Image.fromarray(part), (column * (_SHEET_PX + gap), top))
        pen.text((2, top + _SHEET_PX + 2), label, fill="black")
    return sheet
