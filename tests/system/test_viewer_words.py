"""The page's words: one file for each language, and none beside them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import running_server
from playwright.sync_api import Page
from quick_cases import quick_cases
from viewer_visit import Visit, view

VIEWER = Path(__file__).parents[2] / "tileserver" / "viewer"
LANGUAGES = ("en", "de", "fr", "es")
# Names that are the same in every language.
NAMES = re.compile(r"orthosharp|QGIS|Leaflet|OpenLayers|PNG|GeoTIFF|GDAL|JOSM|iD|STAC|OSM", re.IGNORECASE)


def words_of(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((VIEWER / "words" / f"{language}.json").read_text(encoding="utf-8"))
    return found


def has_words(text: str) -> bool:
    return re.search(r"[^\W\d_]{2,}", NAMES.sub("", text)) is not None


@pytest.fixture(scope="module")
def origin(photo: Path, tiny_weights: Path) -> Iterator[str]:
    with running_server(photo, "--weights", tiny_weights, "--name", "123", "--credit", "456") as server:
        yield server.url


def test_all_languages_have_the_same_words_and_values() -> None:
    assert {path.stem for path in (VIEWER / "words").iterdir()} == set(LANGUAGES)
    values = {}
    for language in LANGUAGES:
        values[language] = {
            key: sorted(re.findall(r"\{\w+\}", text)) for key, text in words_of(language).items()
        }
    for found in values.values():
        assert found == values["en"]


def test_no_text_is_left_in_english() -> None:
    """A few are the same in both: numbers, names, and words that one language has of the other."""
    english = words_of("en")
    for language in LANGUAGES[1:]:
        same = {key for key, text in words_of(language).items() if text == english[key] and has_words(text)}
        assert same <= {"zoom", "of_year"}, language


class Texts(HTMLParser):
    """Texts and labels of a page, each with the key of the words that replace it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []
        self._open: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        for name in ("aria-label", "title", "placeholder", "alt"):
            if known.get(name):
                self.found.append((str(known[name]), known.get("data-say-label")))
        if tag not in ("meta", "link", "input", "br"):
            self._open.append({"tag": tag, **known})

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().get("tag") != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip():
            inner = self._open[-1]
            self.found.append(
                (data.strip(), inner.get("data-say") or (inner.get("lang") and "no_javascript"))
            )


def test_index_html_has_the_english_words_and_no_others() -> None:
    parser = Texts()
    parser.feed((VIEWER / "index.html").read_text(encoding="utf-8"))
    english = words_of("en")
    translated = {words_of(language)["no_javascript"] for language in LANGUAGES}
    said = [(text, key) for text, key in parser.found if has_words(text)]
    assert len(said) > 30
    for text, key in said:
        if key == "no_javascript":
            translated.remove(text)
        else:
            assert key is not None, f"{text!r} is not in the language files"
            assert " ".join(text.split()) == english[key]
    assert not translated


def test_no_script_has_sentences_of_its_own() -> None:
    """Two words in a row in quotation marks are a text; lists of events, selectors and styles are not."""
    is_code = re.compile(r"[#.:>\[\](){}=`$;|]")
    # A thrown error that is caught, what a header says, and classes of Leaflet's.
    internal = {"not a picture", "old photograph", "leaflet-bar buttons"}
    found = []
    for path in VIEWER.glob("*.js"):
        code = path.read_text(encoding="utf-8")
        code = re.sub(r"/\*.*?\*/|(?<![:\"'])//[^\n]*", "", code, flags=re.DOTALL)
        code = re.sub(r"\.(on|off)\((\w+, )?\"[^\"]*\"", "", code)
        for text in re.findall(r'"([^"\n]*)"', code):
            if (
                re.search(r"[A-Za-z]{2,} [a-z]{2,}", text)
                and not is_code.search(text)
                and text not in internal
            ):
                found.append((path.name, text))
    assert found == []


def test_all_words_are_used() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (*VIEWER.glob("*.js"), *VIEWER.glob("*.html"))]
    texts.append((VIEWER.parent / "web" / "error_page.py").read_text(encoding="utf-8"))
    code = "\n".join(texts)
    unused = {key for key in words_of("en").keys() - {"no_javascript"} if not re.search(rf"\b{key}\b", code)}
    assert unused <= {
        "standing_in",
        "partly",
        "size_native",
        "unreachable",
        "offline",
        "error_404",
        "error_503",
    }


@pytest.mark.browser
@pytest.mark.parametrize(
    ("language", "label"),
    quick_cases(
        [
            ("de-AT", "Altes Luftbild"),
            ("fr", "Photo ancienne"),
            ("es-MX", "Foto antigua"),
            ("en-GB", "Old photo"),
            ("tlh", "Old photo"),
        ],
        ("de-AT", "Altes Luftbild"),
        ("tlh", "Old photo"),
    ),
)
def test_the_browsers_language_chooses_the_words(
    visit: Callable[..., Visit], language: str, label: str
) -> None:
    page = visit(locale=language).open()
    assert page.locator("#left-shown").inner_text() == label
    assert page.get_attribute("html", "lang") == (language.split("-")[0] if language != "tlh" else "en")


# All texts and labels that somebody can see or hear, but for tiles' own names and what a field contains.
VISIBLE = """() => {
    const texts = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        if (node.nodeType === Node.TEXT_NODE) {
            if (!["SCRIPT", "NOSCRIPT", "TEXTAREA"].includes(node.parentElement.tagName)) texts.push(node.data.trim());
            continue;
        }
        for (const name of ["aria-label", "title", "placeholder", "alt", "aria-valuetext", "label"]) {
            if (node.hasAttribute(name)) texts.push(node.getAttribute(name));
        }
    }
    return [...new Set(texts.filter(Boolean))];
}"""


def beside_the_files(page: Page) -> list[str]:
    """Return the texts on a page whose words are all in angle brackets that have others."""
    found = []
    for text in page.evaluate(VISIBLE):
        rest = text
        while rest != (rest := re.sub(r"<[^<>]*>", "", rest)):
            pass
        if has_words(re.sub(r"\b(km|mi|ft|m)\b", "", rest)):
            found.append(text)
    return found


@pytest.mark.browser
@pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1")
def test_every_text_on_the_page_is_of_the_language_file(visit: Callable[..., Visit], origin: str) -> None:
    """With each text replaced by its key in brackets, no word is left outside of brackets."""
    a_visit = visit(strict=False)
    page = a_visit.page
    marked = {key: f"<{key}{''.join(re.findall(r'{.*?}', text))}>" for key, text in words_of("en").items()}
    page.route("**/words/en.json", lambda route: route.fulfill(json=marked))
    page.route("**/config.json", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(f"{origin}/{view(origin, right='difference')}")
    page.locator("#status").get_by_text("no_start").wait_for()
    assert beside_the_files(page) == []
    page.unroute("**/config.json")
    a_visit.settle()
    page.click("#open-tools")
    for query in ("10, 10", "Main Street"):
        page.fill("#query", query)
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('#results').textContent !== ''")
        assert beside_the_files(page) == []
    page.click("#open-share")
    page.locator("[data-copies]").first.click()
    page.wait_for_function("() => document.querySelector('#share-status').textContent !== ''")
    assert beside_the_files(page) == []
    assert "&lt;ai_notice" in page.input_value("#share-code")
    page.keyboard.press("Escape")
    page.click("#open-tools")
    page.evaluate("() => { location.hash = '#map=18/10/10'; }")
    page.locator("#notice").wait_for()
    assert beside_the_files(page) == []
    page.route("**/tiles/**", lambda route: route.fulfill(status=503, body="{}"))
    page.get_by_role("button", name="zoom_in").click()
    page.locator("#status").get_by_text("busy").wait_for()
    assert beside_the_files(page) == []


@pytest.mark.browser
@pytest.mark.skipif(os.environ.get("ORTHOSHARP_NO_BROWSER") == "1", reason="ORTHOSHARP_NO_BROWSER=1")
def test_words_that_do_not_come_are_asked_for_again(visit: Callable[..., Visit], origin: str) -> None:
    a_visit = visit(strict=False, locale="de")
    page = a_visit.page
    page.route("**/words/de.json", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(origin)
    page.locator("#status").get_by_text("The server does not answer").wait_for()
    page.unroute("**/words/de.json")
    a_visit.settle()
    assert page.locator("#left-shown").inner_text() == "Altes Luftbild"
    assert page.locator("#ai-notice").inner_text().startswith("KI-aufbereitet mit tiny (")
    assert not page.locator("#status").is_visible()
