"""The page as golden screenshots: desktop, phone and dark. ORTHOSHARP_GOLDEN=write replaces them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import running_server
from PIL import Image
from playwright.sync_api import Browser
from viewer_visit import DESKTOP, PATIENT, PHONE, view, visits

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
]

FOLDER = Path(__file__).parent
# Letters are drawn by the machine's own fonts: pictures are compared in blocks that are larger than a letter.
BLOCK_PX = 16
# In grey levels; a label that is missing, or a control elsewhere, changes its blocks by more than fifty.
MEAN_TOLERANCE, FAR_OFF, FAR_OFF_SHARE = 4.0, 40.0, 0.015
SHOTS = {
    "desktop": {"viewport": DESKTOP, "color_scheme": "light"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True, "is_mobile": True},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
}


@pytest.fixture(scope="module")
def origin(photo: Path, tiny_weights: Path) -> Iterator[str]:
    options = [
        "--weights",
        tiny_weights,
        "--name",
        "Test meadow",
        "--year",
        1998,
        "--credit",
        "County Survey",
    ]
    with running_server(*PATIENT, photo, *options) as server:
        yield server.url


def blocks(picture: Image.Image) -> np.ndarray:
    """Return the means of blocks: float64 [rows, columns, 3]."""
    size = (picture.width // BLOCK_PX, picture.height // BLOCK_PX)
    return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BOX), np.float64)


def complaint(golden: Image.Image, made: Image.Image) -> str:
    """Say what differs; empty if the two pictures are the same page."""
    if golden.size != made.size:
        return f"sizes differ: {golden.size}, {made.size}"
    error = np.abs(blocks(golden) - blocks(made)).mean(-1)
    share = (error > FAR_OFF).mean()
    if error.mean() <= MEAN_TOLERANCE and share <= FAR_OFF_SHARE:
        return ""
    return f"mean {error.mean():.1f} grey levels, {share:.2%} of the blocks far off"


@pytest.mark.parametrize("name", SHOTS)
def test_the_page_looks_as_it_did(browser: Browser, origin: str, name: str) -> None:
    with visits(browser, origin) as make:
        visit = make(**SHOTS[name])
        page = visit.open("/" + view(origin))
        page.wait_for_timeout(400)
        made = Image.open(io.BytesIO(page.screenshot()))
        path = FOLDER / f"page-{name}.png"
        if os.environ.get("ORTHOSHARP_GOLDEN") == "write":
            made.convert("RGB").quantize(128).save(path, optimize=True)
        assert complaint(Image.open(path), made) == ""
        # The comparison sees what it is for: a control that has gone.
        page.evaluate(
            """() => document.querySelectorAll('.sides, .leaflet-right, footer button')
                .forEach((element) => { element.style.visibility = 'hidden'; })"""
        )
        assert complaint(Image.open(path), Image.open(io.BytesIO(page.screenshot()))) != ""
