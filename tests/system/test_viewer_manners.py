"""The page's manners: dark scheme, fingers, keyboard, links to nowhere, search, and accessibility."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from conftest import running_server
from playwright.sync_api import Browser, Page, Route
from viewer_visit import DESKTOP, PHONE, Visit, view, visits

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
]

AXE = Path(__file__).with_name("js") / "node_modules" / "axe-core" / "axe.min.js"
TOUCH = {"viewport": PHONE, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def origin(photo: Path, tiny_weights: Path) -> Iterator[str]:
    geocoder = "https://geocoder.example/search?q={query}"
    with running_server(photo, "--weights", tiny_weights, "--geocoder", geocoder) as server:
        yield server.url


def violations(page: Page) -> list[str]:
    """Rules of axe-core that the page breaks, with the elements."""
    # Playwright evaluates outside of the page's content security policy.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make clients")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{"viewport": DESKTOP}, TOUCH], ids=["desktop", "phone"])
def test_axe_finds_nothing(
    visit: Callable[..., Visit], origin: str, options: dict[str, object], scheme: str
) -> None:
    page = visit(color_scheme=scheme, **options).open("/" + view(origin))
    assert violations(page) == []
    page.click("#open-tools")
    assert violations(page) == []
    page.click("#open-tools")
    page.click("#open-share")
    assert violations(page) == []


def test_the_dark_scheme_follows_the_system(visit: Callable[..., Visit]) -> None:
    def paper(scheme: str) -> int:
        page = visit(color_scheme=scheme).open()
        colour = page.evaluate("() => getComputedStyle(document.querySelector('footer')).backgroundColor")
        if colour == "rgba(0, 0, 0, 0)":
            colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    assert paper("dark") < 200 < 600 < paper("light")


def test_fingers_find_their_targets(visit: Callable[..., Visit], origin: str) -> None:
    page = visit(**TOUCH).open("/" + view(origin))
    page.click("#open-tools")
    small = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input, #handle, .leaflet-bar a, #tools a')]
            .filter((element) => element.offsetParent && !element.closest('#share') && !element.closest('#year-marks'))
            .map((element) => [element.id || element.className || element.textContent, element.getBoundingClientRect()])
            .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
            .map(([name, box]) => `${name} ${box.width}x${box.height}`)"""
    )
    assert small == []
    assert page.get_by_role("heading", level=1).is_visible()
    for side in ("Left", "Right"):
        assert page.locator(".side", has_text=side).is_visible()


@pytest.mark.parametrize("first_on_handle", [True, False])
def test_a_pinch_zooms_and_leaves_the_handle(
    visit: Callable[..., Visit], origin: str, first_on_handle: bool
) -> None:
    a_visit = visit(**TOUCH)
    page = a_visit.open("/" + view(origin, zoom_in=-1))
    zoom = a_visit.place()[0]
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[int, int, int]) -> None:
        touches = [{"id": number, "x": x, "y": y} for number, x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    handle, beside = (180, 320), (230, 320)
    one, other = (handle, beside) if first_on_handle else (beside, handle)
    touch("touchStart", (0, *one))
    touch("touchStart", (0, *one), (1, *other))
    for step in range(1, 9):
        outwards = -14 * step if one < other else 14 * step
        touch("touchMove", (0, one[0] + outwards, one[1]), (1, other[0] - outwards, other[1]))
        page.wait_for_timeout(30)
    touch("touchEnd")
    page.wait_for_function(f"() => Number(location.hash.slice(5).split('/')[0]) > {zoom}")
    assert page.locator("#handle").get_attribute("aria-valuenow") == "50"


def test_the_focus_on_the_map_is_visible(visit: Callable[..., Visit], origin: str) -> None:
    page = visit().open("/" + view(origin))
    before = page.screenshot(clip={"x": 0, "y": 100, "width": 8, "height": 200})
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "map":
            break
    assert page.evaluate("() => document.activeElement.id") == "map"
    assert page.screenshot(clip={"x": 0, "y": 100, "width": 8, "height": 200}) != before


def test_a_link_to_nowhere_opens_the_whole_photo(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit()
    page = a_visit.open("/#map=18/10/10&left=old&right=restored&swipe=50")
    note = page.locator("#notice")
    assert note.is_visible()
    assert "without a photo" in note.inner_text()
    west, south, east, north = httpx.get(f"{origin}/config.json", timeout=60).json()["bounds"]
    _, lat, lng = a_visit.place()
    assert (lat, lng) == pytest.approx(((south + north) / 2, (west + east) / 2), abs=1e-3)
    page.get_by_role("button", name="Zoom in").click()
    note.wait_for(state="hidden")
    page.get_by_role("button", name="Whole photo").click()
    a_visit.settle()
    assert a_visit.place()[1:] == pytest.approx((lat, lng), abs=1e-4)


@pytest.mark.parametrize(
    "text", ["{lat}, {lng}", "{lat} {lng}", "{lat}°N {west}°W", "W{west} N{lat}", "{lat},{lng} "]
)
def test_coordinates_are_found(visit: Callable[..., Visit], origin: str, text: str) -> None:
    west, south, east, north = httpx.get(f"{origin}/config.json", timeout=60).json()["bounds"]
    lat, lng = south + 0.3 * (north - south), west + 0.3 * (east - west)
    a_visit = visit()
    page = a_visit.open()
    page.click("#open-tools")
    page.fill("#query", text.format(lat=round(lat, 6), lng=round(lng, 6), west=round(-lng, 6)))
    page.keyboard.press("Enter")
    a_visit.settle()
    assert a_visit.place()[1:] == pytest.approx((lat, lng), abs=1e-4)


def test_minutes_and_nonsense_and_places_far_away(visit: Callable[..., Visit]) -> None:
    page = visit().open()
    read = page.evaluate(
        """async () => {
            const { readCoordinates } = await import("/viewer/places.js");
            const texts = ["42°23'38.4\\"N 73°31'37.9\\"W", "46,5; 7,4", "91 0", "Main Street 4", "42", ""];
            return texts.map(readCoordinates);
        }"""
    )
    assert read[0] == pytest.approx({"lat": 42.394, "lng": -73.527194}, abs=1e-5)
    assert read[1:] == [{"lat": 46.5, "lng": 7.4}, None, None, None, None]
    page.click("#open-tools")
    page.fill("#query", "10, 10")
    page.keyboard.press("Enter")
    page.locator("#results").get_by_text("outside the photo").wait_for()


def test_the_operators_geocoder_finds_places(browser: Browser, origin: str) -> None:
    west, south, east, north = httpx.get(f"{origin}/config.json", timeout=60).json()["bounds"]
    place = {
        "lat": str((south + north) / 2 + 2e-4),
        "lon": str((west + east) / 2),
        "display_name": "<b>Church</b>",
    }
    asked = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(json=[place], headers={"Access-Control-Allow-Origin": "*"})

    with visits(browser, origin) as make:
        a_visit = make(strict=False)  # another server is asked
        page = a_visit.open()
        page.route("https://geocoder.example/**", answer)
        page.click("#open-tools")
        page.fill("#query", "church & yard")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="<b>Church</b>").click()
        a_visit.settle()
        assert asked == ["https://geocoder.example/search?q=church%20%26%20yard"]
        assert a_visit.place()[1] == pytest.approx(float(place["lat"]), abs=1e-4)
        assert a_visit.complaints == []


def test_opacity_lets_the_old_photo_shine_through(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit()
    page = a_visit.open("/" + view(origin))
    page.click("#open-tools")
    page.locator("#opacity").fill("0")
    page.keyboard.press("Escape")
    assert not page.locator("#tools").is_visible()
    a_visit.shows("old", 420, 150)


def test_the_embed_snippet_shows_this_view(visit: Callable[..., Visit], origin: str) -> None:
    page = visit().open("/" + view(origin, swipe=30))
    page.click("#open-tools")
    code = page.input_value("#embed")
    source = re.search(r'src="([^"]+)"', code)
    assert source is not None
    assert source[1].replace("&amp;", "&") == page.url
