"""The page over several years of the same ground: slider, any year against any, side by side, links."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Photo, running_server, write_photo
from viewer_visit import PHONE, Visit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
]

WIDE = {"width": 1000, "height": 560}
YEARS = (1951, 1968, 1998)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Iterator[str]:
    """URL of a server with three years and a later photo."""
    folder = tmp_path_factory.mktemp("years")
    photos = [write_photo(folder / f"{year}.tif", Photo(seed=year)) for year in YEARS]
    new = write_photo(folder / "2017.tif", Photo(seed=17))
    with running_server(*photos, "--new", new, "--weights", tiny_weights) as server:
        yield server.url


def shown(a_visit: Visit) -> tuple[str, str]:
    page = a_visit.page
    return page.locator("#left-shown").inner_text(), page.locator("#right-shown").inner_text()


@pytest.mark.slow
def test_the_slider_moves_both_sides_through_the_years(visit: Callable[..., Visit]) -> None:
    a_visit = visit()
    page = a_visit.open()
    assert shown(a_visit) == ("1951 · Old photo", "1951 · AI-restored")
    slider = page.get_by_role("slider", name="Year")
    slider.focus()
    page.keyboard.press("ArrowRight")
    a_visit.settle()
    assert shown(a_visit) == ("1968 · Old photo", "1968 · AI-restored")
    assert slider.get_attribute("aria-valuetext") == "1968, on both sides"
    a_visit.shows("1968/old", 200, 300)
    a_visit.shows("1968/restored", 560, 300)
    page.keyboard.press("End")
    a_visit.settle()
    assert shown(a_visit) == ("1998 · Old photo", "1998 · AI-restored")
    page.locator("#year-marks button", has_text="1951").click()
    a_visit.settle()
    a_visit.shows("1951/old", 200, 300)


def test_any_year_against_any_in_the_link(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit()
    page = a_visit.open()
    page.select_option("#left", "1951:restored")
    page.select_option("#right", "1998:old")
    a_visit.settle()
    a_visit.shows("1951/restored", 200, 300)
    a_visit.shows("1998/old", 560, 300)
    assert "left=1951:restored&right=1998:old" in page.url
    # Of two years the slider moves the right one.
    page.get_by_role("slider", name="Year").focus()
    page.keyboard.press("ArrowLeft")
    a_visit.settle()
    assert shown(a_visit) == ("1951 · AI-restored", "1968 · Old photo")
    page.select_option("#right", "1968:new")
    a_visit.settle()
    assert shown(a_visit)[1] == "2017 · New photo"

    again = visit()
    again.open(page.url.removeprefix(origin))
    assert again.page.url == page.url
    assert shown(again) == shown(a_visit)
    again.shows("1951/restored", 200, 300)
    again.shows("1968/new", 560, 300)


@pytest.mark.slow
def test_side_by_side_with_linked_views_and_cursors(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit(viewport=WIDE)
    page = a_visit.open()
    page.get_by_role("button", name="Side by side").click()
    a_visit.settle()
    assert not page.locator("#handle").is_visible()
    assert "view=beside" in page.url

    def halves_agree() -> None:
        """Both halves show the same place: the right one's layer where the left one's is, half a screen further."""
        left, right = a_visit.patch(250, 300), a_visit.patch(750, 300)
        assert np.abs(left - right).mean() < 1.5

    page.select_option("#right", "1951:old")
    a_visit.settle()
    halves_agree()
    page.mouse.move(760, 250)
    page.mouse.down()
    page.mouse.move(700, 280, steps=4)
    page.wait_for_timeout(300)
    page.mouse.up()
    a_visit.settle()
    page.mouse.move(760, 420)
    halves_agree()
    cross = page.locator("#map .cross").bounding_box()
    assert cross is not None
    assert (cross["x"] + cross["width"] / 2, cross["y"] + cross["height"] / 2) == pytest.approx(
        (259, 420), abs=3
    )

    again = visit(viewport=WIDE)
    again.open(page.url.removeprefix(origin))
    assert again.page.locator("#map-right").is_visible()
    again.page.set_viewport_size({"width": 700, "height": 560})
    again.page.wait_for_function("() => !document.body.classList.contains('beside')")
    again.settle()
    assert again.page.locator("#handle").is_visible()
    again.shows("1951/old", 500, 300)


def test_a_pasted_link_is_kept(visit: Callable[..., Visit], origin: str) -> None:
    """Opening one must not save a view that is half opened."""
    a_visit = visit()
    page = a_visit.open()
    place = page.url.split("#map=")[1].split("&")[0]
    zoom, lat, lng = place.split("/")
    pasted = f"#map={int(zoom) - 1}/{lat}/{lng}&left=1998:old&right=1968:restored&swipe=30"
    seen = page.evaluate(
        """(pasted) => new Promise((done) => {
            const seen = [];
            const replace = history.replaceState.bind(history);
            history.replaceState = (state, title, url) => { seen.push(String(url)); replace(state, title, url); };
            addEventListener("hashchange", () => setTimeout(() => done(seen), 300));
            location.hash = pasted;
        })""",
        pasted,
    )
    a_visit.settle()
    assert seen
    assert all("left=1998:old&right=1968:restored&swipe=30" in url for url in seen)
    assert shown(a_visit) == ("1998 · Old photo", "1968 · AI-restored")


def test_a_phone_chooses_years_by_touch(visit: Callable[..., Visit]) -> None:
    a_visit = visit(viewport=PHONE, device_scale_factor=2, has_touch=True, is_mobile=True)
    page = a_visit.open()
    box = page.locator("#years").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    page.touchscreen.tap(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    a_visit.settle()
    assert shown(a_visit) == ("1998 · Old photo", "1998 · AI-restored")
    assert not page.get_by_role("button", name="Side by side").is_visible()
