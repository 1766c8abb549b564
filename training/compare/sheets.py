"""Blind sheets: the same ground by every candidate, lettered in random order; the key lies apart."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from sr_model.atomic import is_temporary, write_atomic
from training.compare.windows import WINDOW_PX, ComparedWindow
from training.errors import ComparisonError
from training.pages import render
from training.progress import Report, no_report

PAGE: Final = "index.html"
_SHEET: Final = re.compile(r"\d\d\.png")
_ENLARGED: Final = 2
_COLUMNS: Final = 2
_GAP_PX: Final = 12
_LABEL_PX: Final = 44
_LETTER_PX: Final = 32


def key_path(out: Path) -> Path:
    """Return the path of the key of a folder of sheets: beside it, so that the folder can be given away."""
    return out.with_name(f"{out.name}.key.json")


def write_sheets(
    out: Path,
    windows: Sequence[ComparedWindow],
    named: Mapping[str, Path],
    seed: int,
    report: Report = no_report,
) -> Path:
    """Write a picture per window, a page that shows them all and takes scores, and the key.

    Args:
        out: folder that is made; the sheets of one that a stop left unfinished are drawn again.
        windows: the windows to show.
        named: the files of the candidates, by name.
        seed: of the letters' order.
        report: told of every sheet.

    Returns:
        The key's path.

    Raises:
        ComparisonError: the folder or its key exists or cannot be made, or there are more than 26 candidates.
    """
    key = key_path(out)
    if key.exists() or not _is_unfinished(out):
        raise ComparisonError(f"{(key if key.exists() else out).name} exists: name another folder")
    if len(named) > len(ascii_uppercase):
        raise ComparisonError(f"{len(named)} candidates are more than there are letters: compare fewer")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for drawn_before in out.iterdir():
            drawn_before.unlink()
    except OSError as error:
        raise ComparisonError(f"{out.name} cannot be made ({error.strerror}): name another folder") from error
    # Another draw than that of the windows, which the same seed made.
    drawn = random.Random(f"letters {seed}")  # noqa: S311 # a draw of letters, no secret
    entries: dict[str, Any] = {}
    report("sheets", 0, len(windows))
    for number, window in enumerate(windows):
        order = list(window.pictures)
        drawn.shuffle(order)
        letters = dict(zip(ascii_uppercase, order, strict=False))
        name = f"{number:02d}"
        sheet = draw_sheet(window, letters)
        write_atomic(out / f"{name}.png", partial(sheet.save, format="PNG"))
        place = {"column": window.column, "row": window.row}
        entries[name] = {"kind": window.kind, **place, "letters": letters}
        report("sheets", number + 1, len(windows))
    page = render("compare.html", sheets=list(entries), letters=ascii_uppercase[: len(named)])
    write_atomic(out / PAGE, page.encode())
    files = {name: path.name for name, path in named.items()}
    document = {"seed": seed, "window_px": WINDOW_PX, "candidates": files, "sheets": entries}
    write_atomic(key, (json.dumps(document, indent=2) + "\n").encode())
    return key


def _is_unfinished(out: Path) -> bool:
    """Whether the folder is missing, or holds sheets without their page: so a stop leaves it."""
    if not out.is_dir():
        return not out.exists()
    return all(_SHEET.fullmatch(item.name) or is_temporary(item.name) for item in out.iterdir())


def draw_sheet(window: ComparedWindow, letters: Mapping[str, str]) -> Image.Image:
    """Every candidate's picture twice as large, two in a row, under its letter."""
    side = WINDOW_PX * _ENLARGED
    rows = -(-len(letters) // _COLUMNS)
    size = (_COLUMNS * (side + _GAP_PX) - _GAP_PX, rows * (side + _LABEL_PX + _GAP_PX) - _GAP_PX)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LETTER_PX)
    for index, (letter, candidate) in enumerate(letters.items()):
        left, top = picture_corner(index)
        picture = Image.fromarray(window.pictures[candidate])
        sheet.paste(picture.resize((side, side), Image.Resampling.BICUBIC), (left, top))
        pen.text((left + 4, top - _LABEL_PX + 2), letter, fill="black", font=font)
    return sheet


def picture_corner(index: int) -> tuple[int, int]:
    """Left and top of the picture with so many others before it, in pixels of the sheet."""
    row, column = divmod(index, _COLUMNS)
    side = WINDOW_PX * _ENLARGED
    return column * (side + _GAP_PX), row * (side + _LABEL_PX + _GAP_PX) + _LABEL_PX
