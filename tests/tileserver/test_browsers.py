"""What browsers ask of a server beside the documents: preflights, compression, and who may embed the page."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable

import pytest
from conftest import path_of
from pydantic import ValidationError
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.web.app import create_app
from tileserver.web.compression import accepts_gzip

ASKING = {
    "Origin": "https://map.example",
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization,x-requested-with",
}


def app_of(make_service: Callable[..., TileService], **settings: str) -> TestClient:
    service = make_service(**settings)
    return TestClient(create_app(service.settings, service))


@pytest.mark.parametrize("path", ["/tilejson.json", "/tiles/{middle}.webp", "/", "/restored/feature"])
def test_preflights_are_answered(served: TestClient, path: str) -> None:
    served.get(f"/tiles/{path_of(served)}.webp")  # also for a tile in memory
    answer = served.options(path.format(middle=path_of(served)), headers=ASKING)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "GET" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "*, Authorization"
    assert "content-security-policy" in answer.headers


def test_preflights_of_other_origins_allow_nothing(make_service: Callable[..., TileService]) -> None:
    client = app_of(make_service, cors_origins="https://map.example")
    mine = client.options("/tilejson.json", headers=ASKING)
    assert mine.headers["access-control-allow-origin"] == "https://map.example"
    other = client.options("/tilejson.json", headers={**ASKING, "Origin": "https://evil.example"})
    assert not [name for name in other.headers if name.startswith("access-control-allow")]
    assert other.headers["vary"] == "Origin"


def raw(client: TestClient, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as they were sent."""
    with client.stream("GET", path, headers=headers) as answer:
        return answer.status_code, dict(answer.headers), b"".join(answer.iter_raw())


@pytest.mark.parametrize(
    "path", ["/", "/viewer/main.js", "/viewer/style.css", "/restored/WMTSCapabilities.xml", "/openapi.json"]
)
def test_text_is_compressed_for_those_who_accept_it(served: TestClient, path: str) -> None:
    status, plain, body = raw(served, path, **{"Accept-Encoding": "identity"})
    assert (status, "content-encoding" in plain) == (200, False)
    assert "Accept-Encoding" in plain["vary"]
    status, packed, small = raw(served, path, **{"Accept-Encoding": "br, gzip"})
    assert (status, packed["content-encoding"]) == (200, "gzip")
    assert int(packed["content-length"]) == len(small) < len(body) / 1.5
    assert gzip.decompress(small) == body
    assert packed["etag"] != plain["etag"]
    for headers, encoding in ((plain, "identity"), (packed, "gzip")):
        again = raw(served, path, **{"Accept-Encoding": encoding, "If-None-Match": headers["etag"]})
        assert (again[0], again[2]) == (304, b"")
        assert again[1]["etag"] == headers["etag"]


def test_a_malformed_header_is_no_fault_of_the_server(served: TestClient) -> None:
    status, headers, _ = raw(served, "/openapi.json", **{"Accept-Encoding": "gzip;q=1.2.3"})
    assert (status, "content-encoding" in headers) == (200, False)


def test_a_part_of_a_file_is_not_compressed(served: TestClient) -> None:
    """Its place is counted in the bytes of the file (RFC 9110, section 14.4)."""
    path = "/viewer/style.css"
    whole = raw(served, path, **{"Accept-Encoding": "identity"})[2]
    status, headers, body = raw(served, path, **{"Accept-Encoding": "gzip", "Range": "bytes=10-3009"})
    assert (status, "content-encoding" in headers) == (206, False)
    assert headers["content-range"] == f"bytes 10-3009/{len(whole)}"
    assert body == whole[10:3010]


def test_pictures_and_short_answers_are_left_alone(served: TestClient) -> None:
    for path in (f"/tiles/{path_of(served)}.png", f"/tiles/{path_of(served)}.png", "/healthz"):
        assert "content-encoding" not in raw(served, path, **{"Accept-Encoding": "gzip"})[1]


def test_the_page_is_small(served: TestClient) -> None:
    """All that is loaded before the first tile, as it is sent."""
    page = served.get("/").text
    files = set(re.findall(r'(?:href|src)="(viewer/[^"]+)"', page))
    assert {"viewer/main.js", "viewer/style.css"} <= files
    sizes = {path: len(raw(served, f"/{path}", **{"Accept-Encoding": "gzip"})[2]) for path in ["", *files]}
    assert sum(sizes.values()) < 150_000, sizes


def test_all_modules_are_loaded_at_once(served: TestClient) -> None:
    """Those that main.js imports, and those that they import, are named in the page."""
    named = set(re.findall(r'href="viewer/([^"]+\.js)"', served.get("/").text))
    found, unread = set(), {"main.js"}
    while unread:
        text = served.get(f"/viewer/{unread.pop()}").text
        imported = set(re.findall(r'^import .*?from "\./([^"]+)";', text, re.MULTILINE))
        unread |= imported - found
        found |= imported
    assert found
    assert named == found


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, br", False),
        ("br", False),
        ("", False),
        ("x-gzip", False),
        ("*;q=0, gzip", True),
        ("gzip;q=0, *", False),
        ("gzip;q=...", False),
        ("gzip;q=1.2.3", False),
    ],
)
def test_what_a_client_accepts(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) == accepted


def test_who_may_embed(make_service: Callable[..., TileService], served: TestClient) -> None:
    assert "frame-ancestors *" in served.get("/").headers["content-security-policy"]
    client = app_of(make_service, frame_ancestors="self,https://town.example")
    for path in ("/", "/tilejson.json"):
        policy = client.get(path).headers["content-security-policy"]
        assert policy.endswith("; frame-ancestors 'self' https://town.example")
    with pytest.raises(ValidationError, match="not an origin"):
        Settings(source="x", frame_ancestors="town.example")
