"""The page of blind sheets in a real browser: what is typed is what the file holds."""

import json
import os
import shutil

import pytest
from compared_ground import write_ground
from playwright.sync_api import sync_playwright

from training.compare.sheets import write_sheets
from training.compare.windows import candidates, draw_windows

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
]


def test_scores_that_are_typed_are_saved(tmp_path):
    files = write_ground(tmp_path)
    named = candidates(files["old"], files["new"], (files["plain"],))
    write_sheets(tmp_path / "blind", draw_windows(named, 2, 1), named, 1)
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    assert executable, "no Chromium: install it, or leave this test out with ORTHOSHARP_NO_BROWSER=1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.set_default_timeout(60_000)
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((tmp_path / "blind" / "index.html").as_uri())
        widths = page.eval_on_selector_all("img", "images => images.map((image) => image.naturalWidth)")
        page.get_by_label("Your name").fill("Ada")
        for letter, value in zip("ABC", (10, 0, 95.0), strict=True):
            page.get_by_label(f"Sheet 01, picture {letter}").fill(str(int(value)))
        with page.expect_download() as download:
            page.get_by_role("button", name="Save scores").click()
        name, saved = download.value.suggested_filename, json.loads(download.value.path().read_text())
        # Half a sheet is not saved.
        page.get_by_label("Sheet 00, picture A").fill("5")
        page.get_by_role("button", name="Save scores").click()
        invalid = page.eval_on_selector_all("input:invalid", "inputs => inputs.length")
        told = page.get_by_role("status").inner_text()
        browser.close()
    assert complaints == []
    assert widths[0] == 1036
    assert name == "scores.json"
    assert saved == {"judge": "Ada", "sheets": {"01": {"A": 10, "B": 0, "C": 95}}}
    assert invalid == 2
    assert told == "1 of 2 sheets without scores"
