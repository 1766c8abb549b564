"""The page of one of many maps: links to the others, by keyboard and by finger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Photo, running_server, write_photo
from viewer_visit import DESKTOP, PATIENT, PHONE, Visit, needs_axe, violations

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
]

MAPS = 12
# Towns lie apart from each other, so that they are not years of one page.
APART_M = 5_000


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("towns")
    lines = []
    for number in range(MAPS):
        place = (600_000.0 + APART_M * (number % 5), 4_695_000.0 - APART_M * (number // 5))
        photo = Photo(width=256, height=256, seed=number, overviews=(), origin=place)
        path = write_photo(folder / f"town{number}.tif", photo)
        lines.append(
            f'[maps.town{number}]\nsource = "{path}"\nname = "Town number {number}"\nyear = {1950 + number}\n'
        )
    config = folder / "orthosharp.toml"
    config.write_text("\n".join(lines), encoding="utf-8")
    with running_server(*PATIENT, "--config", config, "--weights", tiny_weights) as server:
        yield server.url


def test_the_keyboard_reaches_another_map(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit()
    page = a_visit.open()
    assert page.locator("#name").inner_text() == "Town number 0"
    assert not page.locator("#time").is_visible()
    page.locator("#open-tools").focus()
    page.keyboard.press("Enter")
    links = page.locator("#map-list a")
    assert links.all_inner_texts() == [f"Town number {number}" for number in range(1, MAPS)]
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.textContent") == "Town number 11":
            break
    box, panel = links.last.bounding_box(), page.locator("#tools").bounding_box()
    assert box is not None
    assert panel is not None
    assert panel["y"] <= box["y"]
    assert box["y"] + box["height"] <= panel["y"] + panel["height"], "the focused link is not in sight"
    page.keyboard.press("Enter")
    page.wait_for_url("**/town11/**")
    a_visit.settle()
    assert page.locator("#name").inner_text() == "Town number 11"
    page.go_back()
    a_visit.settle()
    assert page.locator("#name").inner_text() == "Town number 0"


def test_a_finger_reaches_another_map(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit(viewport=PHONE, device_scale_factor=2, has_touch=True, is_mobile=True)
    page = a_visit.open("/town3/")
    page.tap("#open-tools")
    last = page.locator("#map-list a").last
    last.scroll_into_view_if_needed()
    box = last.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    last.tap()
    page.wait_for_url("**/town11/**")
    a_visit.settle()
    assert page.locator("#name").inner_text() == "Town number 11"
    tiles = [url for url in a_visit.requests if "/town11/" in url and "/tiles/" in url]
    assert tiles
    assert {httpx.get(url, timeout=60).status_code for url in tiles} == {200}


@needs_axe
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_in_the_list_and_on_a_page_for_an_error(
    visit: Callable[..., Visit], origin: str, size: dict[str, int]
) -> None:
    a_visit = visit(viewport=size, strict=False)  # the browser complains of status 404
    page = a_visit.open()
    page.click("#open-tools")
    assert violations(page) == []
    page.goto(f"{origin}/town3/nowhere")
    assert violations(page) == []
    page.get_by_role("link").click()
    a_visit.settle()
    assert page.locator("#name").inner_text() == "Town number 3"
