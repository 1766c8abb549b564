"""Errors in a browser are a page with a way back; programs get JSON."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/tiles/99/0/0.png", 404),
        ("/restored/view.tif?bbox=1", 422),
        ("/restored/preview.png?width=0", 422),
    ],
)
def test_a_browser_gets_a_page_and_a_program_json(served: TestClient, path: str, status: int) -> None:
    page = served.get(path, headers=BROWSER)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert 'href="/"' in page.text
    assert served.get("/viewer/style.css").status_code == 200
    document = served.get(path, headers={"Accept": "image/webp,*/*;q=0.8"})
    assert document.status_code == status
    detail = document.json()["detail"]
    assert detail.replace("'", "&#x27;").replace('"', "&quot;") in page.text
    for answer in (page, document):
        assert "Accept" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("header", "language", "title"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "de", "Unter dieser Adresse gibt es nichts"),
        ("nl, fr;q=0.7, en;q=0.6", "fr", "Il n’y a rien à cette adresse"),
        ("es", "es", "No hay nada en esta dirección"),
        ("de;q=0, en", "en", "There is nothing at this address"),
        ("tlh", "en", "There is nothing at this address"),
        ("", "en", "There is nothing at this address"),
        (";;q=,de;q=nonsense," + "x," * 5000, "en", "There is nothing at this address"),
    ],
)
def test_the_page_speaks_the_readers_language(
    served: TestClient, header: str, language: str, title: str
) -> None:
    page = served.get("/nowhere", headers={**BROWSER, "Accept-Language": header})
    assert page.headers["content-language"] == language
    assert "Accept-Language" in page.headers["vary"]
    assert f'<html lang="{language}">' in page.text
    assert f"<h1>{title}</h1>" in page.text
    # What is wrong stands there in the server's own words.
    assert '<span lang="en">no such address' in page.text


def test_what_was_asked_is_never_markup(served: TestClient) -> None:
    page = served.get("/nolayer/tiles/<script>alert(1)</script>/1/1/1.png", headers=BROWSER)
    assert "<script>" not in page.text
    page = served.get("/tiles/1/0/0.<b>x", headers=BROWSER)
    assert "<b>" not in page.text


def test_the_way_back_leads_to_the_map_below_a_prefix(served: TestClient) -> None:
    client = TestClient(served.app, root_path="/maps/old", raise_server_exceptions=False)
    assert 'href="/maps/old/"' in client.get("/nowhere", headers=BROWSER).text
