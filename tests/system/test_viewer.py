"""The page in a real browser, with a real server: each side of the handle shows the layer selected for it."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import running_server
from playwright.sync_api import Page, Route
from viewer_visit import DESKTOP, PHONE, TILE_PX, Visit, view

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
]

CREDIT = "County Survey Office <1998> & Sons"
NAME = "Test meadow, 1998"


@pytest.fixture(scope="module")
def origin(photo: Path, new_photo: Path, tiny_weights: Path) -> Iterator[str]:
    """URL of a server with two small photos, in a process of its own."""
    options = ["--new", new_photo, "--weights", tiny_weights, "--name", NAME, "--credit", CREDIT]
    with running_server(photo, *options) as server:
        yield server.url


def drag_handle(page: Page, to_x: float) -> None:
    box = page.locator("#handle").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(to_x, y, steps=5)
    page.mouse.up()


# What the page does


def test_the_handle_separates_the_old_photo_from_the_restored_one(
    visit: Callable[..., Visit], origin: str
) -> None:
    a_visit = visit()
    page = a_visit.open("/" + view(origin))
    y = 250
    assert np.abs(a_visit.expected("old", 300, y) - a_visit.expected("restored", 300, y)).mean() > 10
    a_visit.shows("old", 300, y)
    a_visit.shows("restored", 480, y)

    drag_handle(page, 190)
    a_visit.shows("old", 100, y)
    a_visit.shows("restored", 300, y)
    assert "swipe=25" in page.url

    drag_handle(page, 570)
    a_visit.shows("old", 450, y)
    a_visit.shows("restored", 670, y)


def test_any_layer_on_either_side(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit()
    page = a_visit.open("/" + view(origin))
    assert page.locator("#left option").all_inner_texts() == [
        "Old photo",
        "AI-restored",
        "Difference",
        "New photo",
    ]
    assert not page.locator("#legend").is_visible()
    page.select_option("#left", "new")
    page.select_option("#right", "difference")
    a_visit.settle()
    assert page.locator("#legend").is_visible()
    a_visit.shows("new", 250, 300)
    a_visit.shows("difference", 500, 300)
    page.select_option("#right", "old")
    a_visit.settle()
    a_visit.shows("old", 500, 300)


def test_the_keyboard_is_enough(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit()
    page = a_visit.open("/" + view(origin))
    handle = page.get_by_role("slider")
    for _ in range(10):
        page.keyboard.press("Tab")
        if handle.evaluate("(element) => element === document.activeElement"):
            break
    before = a_visit.place()
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "51"
    page.keyboard.press("PageDown")
    assert handle.get_attribute("aria-valuenow") == "41"
    assert handle.get_attribute("aria-valuetext") == "41 %: Old photo on the left, AI-restored on the right"
    page.keyboard.press("Home")
    a_visit.shows("restored", 100, 300)
    page.keyboard.press("End")
    a_visit.shows("old", 600, 300)
    assert a_visit.place() == pytest.approx(before, abs=2e-6), "the map moved with the handle"

    page.get_by_role("button", name="Use in QGIS").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_the_permalink_brings_back_place_zoom_layers_and_swipe(
    visit: Callable[..., Visit], origin: str
) -> None:
    first = visit()
    page = first.open("/" + view(origin, left="new", swipe=30))
    page.mouse.move(500, 300)
    page.mouse.down()
    page.mouse.move(400, 340, steps=4)
    page.wait_for_timeout(300)  # let go at rest, or the map glides on
    page.mouse.up()
    zoom = first.place()[0] - 1
    page.get_by_role("button", name="Zoom out").click()
    page.wait_for_function(f"() => location.hash.startsWith('#map={zoom}/')")
    first.settle()

    again = visit()
    again.open(page.url.removeprefix(origin))
    assert again.page.url == page.url
    assert again.page.input_value("#left") == "new"
    assert again.page.get_by_role("slider").get_attribute("aria-valuenow") == "30"
    assert np.abs(again.patch(400, 300) - first.patch(400, 300)).mean() < 1
    again.shows("new", 120, 300)
    again.shows("restored", 450, 300)

    again.go(view(origin, right="old", swipe=80))
    assert again.page.input_value("#right") == "old"
    again.go("#map=nowhere&left=nonsense&swipe=-3")
    assert again.page.input_value("#left") == "old"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_credit_and_notice_are_always_in_sight(visit: Callable[..., Visit], size: dict[str, int]) -> None:
    page = visit(viewport=size).open()
    for said in (CREDIT, "AI-restored", "Restored pictures are a guess by a neural network.", NAME):
        element = page.locator("footer").get_by_text(said).last
        box = element.bounding_box()
        assert element.is_visible()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size["width"]
        assert box["y"] + box["height"] <= size["height"]
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    map_box = page.locator("#map").bounding_box()
    assert map_box is not None
    assert map_box["height"] > 0.75 * size["height"]


def test_a_phone_swipes_by_touch_and_gets_dense_tiles(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit(viewport=PHONE, device_scale_factor=2, has_touch=True, is_mobile=True)
    page = a_visit.open("/" + view(origin))
    widths = page.evaluate(
        "[...document.querySelectorAll('.leaflet-tile-loaded')].map((tile) => tile.naturalWidth)"
    )
    assert set(widths) == {2 * TILE_PX}
    tiles = [url for url in a_visit.requests if "/tiles/" in url]
    assert tiles
    assert all(url.endswith("@2x.webp") for url in tiles)

    before = a_visit.place()
    session = page.context.new_cdp_session(page)
    for kind, x in (("touchStart", 180), ("touchMove", 150), ("touchMove", 90), ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": 300}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function("() => location.hash.includes('swipe=25')")
    assert a_visit.place() == pytest.approx(before, abs=2e-6), "the map moved with the handle"


def test_tiles_are_requested_only_inside_the_photo_and_its_zooms(
    visit: Callable[..., Visit], origin: str
) -> None:
    a_visit = visit()
    a_visit.open("/" + view(origin, zoom_in=30))  # as close as the map goes: the browser enlarges
    a_visit.go(view(origin, left="new", zoom_in=-2))
    a_visit.go(view(origin, zoom_in=-30))
    tiles = [url for url in a_visit.requests if "/tiles/" in url]
    assert tiles
    assert {httpx.get(url, timeout=60).status_code for url in tiles} == {200}


def test_slow_tiles_show_the_old_photo_and_failed_ones_are_requested_again(
    visit: Callable[..., Visit], origin: str
) -> None:
    a_visit = visit(strict=False)  # the browser itself complains of status 503
    page = a_visit.page
    full = True

    def refuse(route: Route) -> None:
        if full:
            route.fulfill(status=503, headers={"Retry-After": "1", "Cache-Control": "no-store"}, body="{}")
        else:
            route.continue_()

    page.route("**/restored/tiles/**", refuse)
    page.goto(f"{origin}/{view(origin)}")
    page.locator("#status").get_by_text("The server is busy").wait_for()
    page.wait_for_timeout(400)
    a_visit.shows("old", 500, 300)
    assert page.locator("#right-shown").inner_text() == "Old photo, not restored yet"
    full = False
    a_visit.settle()
    a_visit.shows("restored", 500, 300)
    assert not page.locator("#status").is_visible()


def test_tiles_that_fail_are_reported_in_words_and_can_be_requested_again(
    visit: Callable[..., Visit], origin: str
) -> None:
    a_visit = visit(strict=False)
    page = a_visit.page
    page.clock.install()
    page.route("**/restored/tiles/**", lambda route: route.fulfill(status=502, body="{}"))
    page.goto(f"{origin}/{view(origin)}")
    note = page.locator("#status")
    for _ in range(100):
        page.clock.run_for(12_000)  # longer than the longest wait before another try
        if "could not be loaded" in note.inner_text():
            break
        page.wait_for_timeout(100)
    assert "the old photo may show there instead" in note.inner_text()
    page.unroute("**/restored/tiles/**")
    page.clock.resume()
    page.get_by_role("button", name="Try again").click()
    a_visit.settle()
    a_visit.shows("restored", 500, 300)
    assert not note.is_visible()


def test_the_page_works_under_a_prefix(visit: Callable[..., Visit], origin: str) -> None:
    """Behind a proxy that strips a prefix without telling the server."""
    a_visit = visit()
    prefix = f"{origin}/maps/old-photos"

    def cut(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(prefix, origin)))

    a_visit.page.route(f"{prefix}/**", cut)
    page = a_visit.open("/maps/old-photos/")
    assert all(
        url.startswith(f"{prefix}/") for url in a_visit.requests if not url.startswith(("data:", "blob:"))
    )
    page.get_by_role("button", name="Use in QGIS").click()
    url = page.input_value("#share-url")
    assert "--root-path" in page.locator("#share-status").inner_text()
    assert url == f"{prefix}/restored/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.webp"
    page.select_option("#share-layer", "old")
    assert page.input_value("#share-url") == url.replace("/restored/", "/old/")


def test_the_dialog_has_code_for_openlayers_and_files_for_other_programs(
    visit: Callable[..., Visit], origin: str
) -> None:
    page = visit().open("/" + view(origin))
    page.get_by_role("button", name="Use in QGIS").click()
    for layer in ("restored", "old"):
        page.select_option("#share-layer", layer)
        document = httpx.get(f"{origin}/{layer}/WebMercatorQuad/tilejson.json", timeout=60).json()
        code = page.input_value("#share-openlayers")
        assert f"maxZoom: {document['maxzoom']}" in code
        assert html.unescape(document["attribution"].split(" | ")[0]) in html.unescape(code)
        for name in ("qlr", "qgs", "gdal", "josm", "id", "stac"):
            answer = httpx.get(str(page.locator(f"#share-{name}").evaluate("link => link.href")), timeout=60)
            assert answer.status_code == 200, name
            assert f"/{layer}/" in answer.text


def test_the_code_for_leaflet_shows_tiles_beyond_zoom_18(visit: Callable[..., Visit], origin: str) -> None:
    """On a map of another page, which goes further than Leaflet's own limit for layers."""
    page = visit().open("/" + view(origin))
    page.get_by_role("button", name="Use in QGIS").click()
    code = page.input_value("#share-code")
    config = httpx.get(f"{origin}/config.json", timeout=60).json()
    lng, lat, _ = config["center"]
    page.evaluate(
        """([lat, lng, zoom]) => {
            document.body.innerHTML = "<div id='theirs'></div>";
            Object.assign(document.getElementById("theirs").style, { width: "300px", height: "300px" });
            window.map = L.map("theirs", { maxZoom: 30 }).setView([lat, lng], zoom);
        }""",
        [lat, lng, config["maxzoom"] + 1],
    )
    assert config["maxzoom"] > 18
    page.evaluate(f"{code}; null")
    page.wait_for_selector("#theirs img.leaflet-tile-loaded")


def test_a_server_that_does_not_answer_is_reported_in_words(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit(strict=False)
    a_visit.page.route("**/config.json", lambda route: route.fulfill(status=503, body="{}"))
    a_visit.page.goto(origin)
    note = a_visit.page.get_by_role("status").filter(has_text="could not start")
    note.wait_for()
    assert "503" in note.inner_text()
