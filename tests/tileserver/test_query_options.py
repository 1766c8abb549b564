"""Options that other tile servers know: obeyed on the old photograph where they make sense, else refused by name."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import path_of
from PIL import Image
from starlette.testclient import TestClient

from tileserver.web.accept import preferred
from tileserver.web.options import may_change_pixels

OLD = "/old/tiles/WebMercatorQuad"
RESTORED = "/restored/tiles/WebMercatorQuad"
BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


def pixels(client: TestClient, path: str) -> np.ndarray:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.int16)


REFUSED = [
    "url=/etc/passwd",
    "expression=b1*2",
    "nodata=0",
    "unscale=true",
    "resampling=nearest",
    "reproject=cubic",
    "color_formula=gamma+r+2",
    "colormap={}",
    "buffer=2",
    "padding=2",
    "return_mask=false",
    "algorithm=hillshade",
    "assets=a",
    "algorithm_params={}",
]


@pytest.mark.parametrize("option", [*REFUSED, "bidx=1", "rescale=0,100", "colormap_name=viridis"])
def test_no_option_is_ignored_in_silence(served: TestClient, option: str) -> None:
    """On restored tiles, in memory or not, pictures, documents; in each case by its name."""
    west, south, east, north = served.get("/restored/bounds").json()["bounds"]
    tile = path_of(served)
    assert served.get(f"{RESTORED}/{tile}.png").status_code == 200
    for path in (
        f"{RESTORED}/{tile}.png",
        f"{RESTORED}/{tile}",
        f"{RESTORED}/{tile}@2x.webp",
        f"/tiles/{tile}.png",
        "/restored/preview.png",
        f"/restored/bbox/{west},{south},{east},{north}.png",
        "/restored/info",
        "/tilejson.json",
        "/restored/WebMercatorQuad/tilejson.json",
        "/restored/tiles",
        f"/restored/view.tif?bbox={west},{south},{east},{north}",
        "/collections/restored/map",
        "/restored/map",
        "/ogcapi/collections/restored/map",
    ):
        if path.endswith("/map") and option.startswith("crs="):
            continue  # it obeys that
        answer = served.get(f"{path}{'&' if '?' in path else '?'}{option}")
        assert answer.status_code == 400, (path, answer.status_code)
        assert answer.json()["detail"].startswith(f"{option.split('=')[0]} is not obeyed here: ")
        assert answer.headers["cache-control"] == "no-store"
    if option in REFUSED:
        assert served.get(f"{OLD}/{tile}.png?{option}").status_code == 400
    # What no tile server knows is not our affair: tokens, and what makes an address new.
    assert served.get(f"{RESTORED}/{tile}.png?token=abc&v=2").status_code == 200


def test_old_tiles_and_pictures_obey_bands_range_and_colours(served: TestClient) -> None:
    west, south, east, north = served.get("/old/bounds").json()["bounds"]
    for path in (
        f"{OLD}/{path_of(served)}.png",
        f"{OLD}/{path_of(served)}@2x.png",
        f"/old/bbox/{west},{south},{east},{north}/200x150.png",
        "/old/preview/120x100.png",
    ):
        plain = pixels(served, path)
        assert np.array_equal(pixels(served, f"{path}?bidx=3&bidx=2&bidx=1"), plain[..., ::-1])
        grey = pixels(served, f"{path}?bidx=2")
        assert np.array_equal(grey, np.repeat(plain[..., 1:2], 3, axis=2))
        shown = plain.any(axis=2, keepdims=True)
        stretched = shown * np.clip(np.rint((plain - 50.0) * (255 / 100)), 0, 255)
        assert np.abs(pixels(served, f"{path}?rescale=50,150") - stretched).max() <= 1
        coloured = pixels(served, f"{path}?bidx=1&colormap_name=viridis")
        assert (coloured.std(axis=2) > 5).mean() > 0.5
        # Those in memory are the plain ones.
        assert np.array_equal(pixels(served, path), plain)


def test_tilejson_of_the_old_layer_names_tiles_that_are_shown_so(served: TestClient) -> None:
    document = "/old/WebMercatorQuad/tilejson.json?tile_format=png&minzoom=14"
    z, x, y = path_of(served).split("/")
    query = "rescale=50,150&bidx=3&bidx=2&bidx=1"
    (template,) = served.get(f"{document}&{query}").json()["tiles"]
    shown = pixels(served, template.format(z=z, x=x, y=y))
    assert np.array_equal(shown, pixels(served, f"{OLD}/{z}/{x}/{y}.png?{query}"))
    assert not np.array_equal(shown, pixels(served, f"{OLD}/{z}/{x}/{y}.png"))
    assert "?" not in served.get(document).json()["tiles"][0]
    assert served.get(f"{document}&rescale=5").status_code == 422


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("bidx=4", "bidx"),
        ("bidx=0", "bidx"),
        ("bidx=1&bidx=2", "bidx"),
        ("rescale=5", "MIN,MAX"),
        ("rescale=200,100", "MIN,MAX"),
        ("rescale=nan,1", "MIN,MAX"),
        ("rescale=0,1&rescale=0,2", "once for each band"),
        ("colormap_name=viridis", "single band"),
        ("bidx=1&colormap_name=../../x", "colormap_name"),
    ],
)
def test_malformed_options(served: TestClient, query: str, word: str) -> None:
    for path in (f"{OLD}/{path_of(served)}.png", "/old/preview.png?max_size=64"):
        answer = served.get(f"{path}{'&' if '?' in path else '?'}{query}")
        assert answer.status_code == 422, answer.text
        assert word in answer.json()["detail"]


def test_tilesize(served: TestClient) -> None:
    tile = path_of(served)
    for root in (RESTORED, OLD, "/tiles"):
        double = served.get(f"{root}/{tile}@2x.png")
        assert served.get(f"{root}/{tile}.png?tilesize=512").content == double.content
        assert served.get(f"{root}/{tile}@2x.png?tilesize=512").content == double.content
        single = served.get(f"{root}/{tile}.png")
        assert served.get(f"{root}/{tile}.png?tilesize=256").content == single.content
        for wrong in (f"{root}/{tile}.png?tilesize=1024", f"{root}/{tile}@2x.png?tilesize=256"):
            assert served.get(wrong).status_code == 422
    document = served.get("/tilejson.json?tilesize=512").json()
    assert (document["tileSize"], "@2x" in document["tiles"][0]) == (512, True)


def test_jpeg_is_another_name_of_jpg(served: TestClient) -> None:
    for root in (RESTORED, "/tiles"):
        tile = f"{root}/{path_of(served)}"
        first = served.get(f"{tile}.jpeg")
        assert first.headers["content-type"] == "image/jpeg"
        assert first.content == served.get(f"{tile}.jpg").content
        assert served.get(f"{tile}.jpeg").headers["cache-status"] == "orthosharp; hit"
    assert served.get("/old/preview.jpeg").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "image/webp"),
        ("*/*", "image/webp"),
        (BROWSER, "image/webp"),
        ("image/png", "image/png"),
        ("image/png,*/*;q=0.5", "image/png"),
        ("image/jpeg;q=0.9, image/png;q=0.3", "image/jpeg"),
        ("image/webp;q=0, image/*", "image/png"),
        ("text/html", "image/webp"),
        ("nonsense;;q=x,,=", "image/webp"),
    ],
)
def test_tiles_without_an_extension_obey_accept(
    served: TestClient, accept: str | None, media_type: str
) -> None:
    for root in (RESTORED, "/tiles"):
        for _ in range(2):
            answer = served.get(f"{root}/{path_of(served)}", headers={"Accept": accept} if accept else {})
            assert answer.headers["content-type"] == media_type
            assert "Accept" in answer.headers["vary"]
    again = served.get(
        answer.url, headers={"Accept": accept or "*/*", "If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, "Accept" in again.headers["vary"]) == (304, True)


def test_pictures_may_be_kept_as_tiles_may(served: TestClient) -> None:
    for path in ("/restored/preview.png?max_size=99", "/old/preview.jpg", "/collections/old/map?width=50"):
        answer = served.get(path)
        assert (
            answer.headers["cache-control"]
            == served.get(f"{OLD}/{path_of(served)}.png").headers["cache-control"]
        )
        assert served.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    for path in ("/restored/preview.png?max_size=100000", "/restored/preview/9999x9999.png"):
        assert served.get(path).status_code == 422
    assert served.get("/old/preview.npy").status_code == 404


def test_queries_that_matter() -> None:
    assert not may_change_pixels(b"")
    assert not may_change_pixels(b"token=rescale&v=1")
    assert may_change_pixels(b"v=1&rescale=1,2")
    assert may_change_pixels(b"r%65scale=1,2")
    assert may_change_pixels(b"x=" + b"1" * 999), "not looked into, but passed on"


def test_preferred() -> None:
    assert preferred("", ["a/b", "c/d"]) == "a/b"
    assert preferred("c/*;q=0.5, a/b;q=0.4", ["a/b", "c/d"]) == "c/d"
    assert preferred("a/b;q=0", ["a/b"]) is None
    assert preferred("x/y", ["a/b"]) is None
