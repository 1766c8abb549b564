"""The page while it waits: the old picture first and whole, and what it does when the server is busy or away."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import clean_environment, command_line, free_port, running_server
from playwright.sync_api import Browser, Page, Request, Route
from viewer_visit import DESKTOP, PATIENT, PHONE, Visit, view, visits

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1"),
]

# As the browser has connections to one server.
CONNECTIONS = 6
# The map's background, where there is neither a photograph nor a restored tile.
GROUND = (0xDC, 0xD9, 0xD1)


@pytest.fixture(scope="module")
def origin(photo: Path, tiny_weights: Path) -> Iterator[str]:
    """URL of a server with a small photo, in a process of its own."""
    with running_server(*PATIENT, photo, "--weights", tiny_weights) as server:
        yield server.url


class Parked:
    """Requests for restored tiles that are not answered until the test says so, as of a slow network."""

    def __init__(self, page: Page, pattern: str = "**/restored/tiles/**") -> None:
        self.routes: list[Route] = []
        self.order: list[str] = []
        self.ended: list[str] = []
        self.page = page
        page.on("request", lambda request: self._note(request))
        page.on("requestfailed", lambda request: self.ended.append(request.url))
        page.route(pattern, lambda route: self.routes.append(route))

    def _note(self, request: Request) -> None:
        if "/tiles/" in request.url:
            self.order.append(request.url)

    @property
    def restored(self) -> list[str]:
        return [url for url in self.order if "/restored/" in url]

    def release(self) -> None:
        """Answer all that wait."""
        waiting, self.routes[:] = self.routes[:], []
        for route in waiting:
            if route.request.url not in self.ended:
                route.continue_()

    def release_all(self) -> None:
        """Answer those that wait, and those that follow, until the page wants no more."""
        while self.page.get_attribute("#map", "aria-busy") == "true":
            self.release()
            self.page.wait_for_timeout(100)


def all_old_are_shown(page: Page) -> None:
    """Wait until every tile of the old photo in view is on the screen."""
    page.wait_for_function(
        """() => {
            const tiles = [...document.querySelectorAll('.leaflet-left-pane .leaflet-layer')][1];
            const all = tiles ? [...tiles.querySelectorAll('img')] : [];
            return all.length && all.every((tile) => tile.naturalWidth && Number(tile.style.opacity) === 1);
        }"""
    )


def is_ground(patch: np.ndarray) -> bool:
    return bool(np.abs(patch - np.array(GROUND)).max() < 3)


_PHONE = {"viewport": PHONE, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize(
    ("options", "zoom_in"),
    [
        pytest.param({"viewport": DESKTOP}, -1, id="reduced", marks=pytest.mark.slow),
        pytest.param({"viewport": DESKTOP}, 1, id="enlarged"),
        pytest.param(_PHONE, 0, id="phone"),
    ],
)
def test_the_old_picture_comes_first_and_whole(
    visit: Callable[..., Visit], origin: str, options: dict[str, object], zoom_in: int
) -> None:
    """Restored tiles wait for it, and come a few at a time, nearest to the centre first."""
    a_visit = visit(**options)
    page = a_visit.page
    parked = Parked(page)
    page.goto(f"{origin}/{view(origin, left='restored', zoom_in=zoom_in)}")
    all_old_are_shown(page)
    page.wait_for_function("() => document.querySelector('#status-text').textContent.startsWith('Restoring')")
    if "device_scale_factor" not in options:  # whose pixels are those of the next zoom
        a_visit.shows("old", 250, 300)
        a_visit.shows("old", 500, 300)
    while not parked.restored:  # tiles beside the view may still be on their way
        page.wait_for_timeout(50)
    first_restored = parked.order.index(parked.restored[0])
    assert not [url for url in parked.order[first_restored:] if "/old/" in url], (
        "old tiles waited for restored ones"
    )
    assert len(parked.restored) < CONNECTIONS, "no connection is left for the next old tile"
    for side in ("left", "right"):
        assert page.locator(f"#{side}-shown").inner_text() == "Old photo, not restored yet"

    parked.release_all()
    a_visit.settle()
    zoom, lat, lng = a_visit.place()
    world = 2**zoom
    centre = world * (lng / 360 + 0.5), world * (0.5 - np.arctanh(np.sin(np.radians(lat))) / (2 * np.pi))
    tiles = [tuple(map(int, re.findall(r"/(\d+)", url)[-3:])) for url in parked.restored]
    away = [max(abs(x + 0.5 - centre[0]), abs(y + 0.5 - centre[1])) for _, x, y in tiles]
    assert away == sorted(away)
    assert page.locator("#right-shown").inner_text() == "AI-restored"
    assert page.locator("#left-shown").inner_text() == "AI-restored"


def test_restored_tiles_are_dropped_when_the_map_moves_on(visit: Callable[..., Visit], origin: str) -> None:
    page = visit().page
    parked = Parked(page)
    page.goto(f"{origin}/{view(origin)}")
    page.wait_for_function("() => document.querySelector('#status-text').textContent.startsWith('Restoring')")
    begun = set(parked.restored)
    page.get_by_role("button", name="Zoom in").click()
    all_old_are_shown(page)
    page.wait_for_function("() => document.querySelector('#status-text').textContent.startsWith('Restoring')")
    assert begun <= set(parked.ended), "the server works on tiles of a zoom that nobody looks at"
    assert not begun & set(parked.restored[len(begun) :])
    parked.release_all()


def test_the_progress_is_told_in_tiles(visit: Callable[..., Visit], origin: str) -> None:
    page = visit().page
    parked = Parked(page)
    page.goto(f"{origin}/{view(origin)}")
    note = page.locator("#status-text")
    page.wait_for_function(
        "() => document.querySelector('#status-text').textContent.startsWith('Restoring 0 of')"
    )
    total = int(note.inner_text().split()[-1])
    held = len(parked.routes)
    parked.release()
    page.wait_for_function(
        f"() => document.querySelector('#status-text').textContent === 'Restoring {held} of {total}'"
    )
    assert page.locator("#right-shown").inner_text() == "Partly restored"
    parked.release_all()
    page.wait_for_function("() => document.querySelector('#status').hidden")


@pytest.mark.slow
def test_old_tiles_that_are_refused_come_by_themselves(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit(strict=False)  # the browser itself complains of status 503
    page = a_visit.page
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503, headers={"Retry-After": "1", "Cache-Control": "no-store"}, body="{}")

    page.route("**/tiles/**", refuse)
    page.goto(f"{origin}/{view(origin)}")
    page.locator("#status").get_by_text("The server is busy").wait_for()
    page.wait_for_timeout(3000)
    assert max(map(asked.count, asked)) <= 4, "a busy server must not be asked all the time"
    page.unroute("**/tiles/**")
    a_visit.settle()
    a_visit.shows("old", 150, 300)
    a_visit.shows("restored", 500, 300)
    assert not page.locator("#status").is_visible()


def test_a_refused_tile_is_asked_for_again_when_the_server_makes_another(
    visit: Callable[..., Visit], origin: str
) -> None:
    """However long it said that it needs: the tiles of a metatile are ready together."""
    a_visit = visit(strict=False)
    page = a_visit.page
    asked: list[str] = []

    def refuse_first(route: Route) -> None:
        url = route.request.url
        asked.append(url)
        if len(asked) <= 4:
            headers = {"Retry-After": "120", "Cache-Control": "no-store"}
            route.fulfill(status=503, headers=headers, body='{"detail": "busy"}')
        else:
            route.continue_()

    page.route("**/restored/tiles/**", refuse_first)
    page.goto(f"{origin}/{view(origin)}")
    a_visit.settle()  # within thirty seconds
    a_visit.shows("restored", 500, 300)
    assert max(map(asked.count, asked)) == 2


def test_an_old_tile_in_place_of_a_restored_one_is_not_called_restored(
    visit: Callable[..., Visit], origin: str
) -> None:
    """As servers with `--overload old` answer."""
    a_visit = visit()
    page = a_visit.page
    headers = {"X-Orthosharp": "old photograph, not restored; overloaded", "Cache-Control": "no-store"}

    def stand_in(route: Route) -> None:
        old = httpx.get(route.request.url.replace("/restored/", "/old/"), timeout=60).content
        route.fulfill(body=old, headers={**headers, "Content-Type": "image/webp", "Retry-After": "1"})

    page.route("**/restored/tiles/**", stand_in)
    page.goto(f"{origin}/{view(origin)}")
    page.locator("#status").get_by_text("The server is busy").wait_for()
    assert page.locator("#right-shown").inner_text() == "Old photo, not restored yet"
    page.unroute("**/restored/tiles/**")
    a_visit.settle()
    a_visit.shows("restored", 500, 300)
    assert page.locator("#right-shown").inner_text() == "AI-restored"


@contextmanager
def serving(port: int, *arguments: object) -> Iterator[None]:
    """Run a server on a port until the block ends."""
    command = command_line("serve", *arguments, "--port", port)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment())
    assert process.stdout is not None
    try:
        assert any("Ctrl+C" in line for line in process.stdout)
        yield
    finally:
        process.kill()
        process.wait(timeout=30)
        process.stdout.close()


@pytest.mark.slow
def test_the_page_outlives_its_server(browser: Browser, photo: Path, tiny_weights: Path) -> None:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with visits(browser, origin) as make:
        a_visit = make(strict=False)
        page = a_visit.page
        with serving(port, photo, "--weights", tiny_weights):
            a_visit.open("/" + view(origin, zoom_in=-1))
            at_native = view(origin, swipe=30)
            a_visit.shows("restored", 500, 300)
        page.get_by_role("button", name="Zoom in").click()
        note = page.locator("#status")
        note.get_by_text("The server does not answer").wait_for()
        page.wait_for_timeout(700)
        for x in (150, 300, 500, 650):
            assert not is_ground(a_visit.patch(x, 300)), "what was on the screen has gone"
        assert page.locator("#right-shown").inner_text() != "AI-restored"
        page.evaluate("(view) => { location.hash = view; }", at_native)
        with serving(port, photo, "--weights", tiny_weights):
            a_visit.settle()
            a_visit.shows("old", 150, 300)
            a_visit.shows("restored", 500, 300)
            assert not note.is_visible()
            assert page.locator("#right-shown").inner_text() == "AI-restored"


def test_being_offline_is_called_so(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit(strict=False)
    page = a_visit.open("/" + view(origin, zoom_in=-1))
    page.context.set_offline(True)
    page.get_by_role("button", name="Zoom in").click()
    page.locator("#status").get_by_text("You are offline").wait_for()
    page.context.set_offline(False)
    a_visit.settle()
    a_visit.shows("restored", 500, 300)


def test_the_page_starts_when_the_server_does(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit(strict=False)
    page = a_visit.page
    page.route("**/config.json", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(origin)
    page.get_by_role("status").filter(has_text="could not start").wait_for()
    page.unroute("**/config.json")
    a_visit.settle()
    a_visit.shows("restored", 500, 300)


def test_waits_grow_up_to_a_bound_with_jitter(visit: Callable[..., Visit], origin: str) -> None:
    page = visit().open("/")
    waits = page.evaluate(
        """async () => {
            const { backoff_ms, retryAfter_ms } = await import("/viewer/backoff.js");
            const middle = () => 0.5;
            return {
                growing: [1, 2, 3, 4].map((attempt) => backoff_ms(attempt, 0, middle)),
                longest: backoff_ms(50, 0, () => 1),
                asked: [backoff_ms(1, 30_000, () => 0), backoff_ms(1, 30_000, () => 1)],
                absurd: backoff_ms(1, 1e12, () => 1),
                parsed: [retryAfter_ms("7"), retryAfter_ms(null), retryAfter_ms("soon"),
                    retryAfter_ms(new Date(90_000).toUTCString(), 60_000)],
                spread: new Set(Array.from({ length: 20 }, () => backoff_ms(1))).size,
            };
        }"""
    )
    assert waits["growing"] == [1000, 2000, 4000, 8000]
    assert waits["longest"] <= 75_000
    assert waits["asked"] == [30_000, 37_500]
    assert waits["absurd"] <= 375_000
    assert waits["parsed"] == [7000, 0, 0, 30_000]
    assert waits["spread"] > 15


def test_a_tile_is_asked_for_once_by_both_sides(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit()
    a_visit.open("/" + view(origin, left="restored"))
    tiles = [url for url in a_visit.requests if "/tiles/" in url]
    assert tiles
    assert len(tiles) == len(set(tiles))
    assert {httpx.get(url, timeout=60).status_code for url in tiles} == {200}
