"""Several maps behind one address, and generations of them that follow each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import middle_tile, write_tiny_weights
from starlette.testclient import TestClient

from tileserver.errors import SourceError
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.maps import Generation, Site, open_generation


@pytest.fixture
def site(
    photo: Path, make_photo: Callable[..., Path], tiny_weights: Path
) -> Iterator[tuple[TestClient, Site]]:
    """Two maps, of which the second photograph is the test's own."""
    own = make_photo("own", seed=3)
    maps = {
        name: Settings(source=str(path), weights=tiny_weights, runtime="openvino", name=name)
        for name, path in (("first", photo), ("second", own))
    }
    shared = Shared(maps["first"])

    def load() -> Generation:
        if not own.exists():
            raise SourceError("gone")
        return open_generation(maps, shared)

    made = Site(load(), shared, load)
    with TestClient(made) as client:
        yield client, made


def test_maps_have_paths_of_their_own_and_share_a_network(site: tuple[TestClient, Site]) -> None:
    client, made = site
    assert client.get("/config.json").json()["name"] == "first"
    assert client.get("/second/config.json").json()["name"] == "second"
    template = client.get("/second/tilejson.json").json()["tiles"][0]
    assert template.startswith("http://testserver/second/restored/tiles/")
    one, other = made.current.services
    assert one.restorer is other.restorer
    tile = middle_tile(one)
    path = f"/tiles/{tile.z}/{tile.x}/{tile.y}.png"
    for _ in ("cold", "warm"):
        answers = {name: client.get(name + path) for name in ("", "/first", "/second")}
        assert {answer.status_code for answer in answers.values()} == {200}
        assert answers[""].content == answers["/first"].content != answers["/second"].content
    assert client.get("/second/").status_code == 200
    assert client.get("/second/viewer/main.js").status_code == 200
    assert client.get("/third/config.json").status_code == 404


def test_a_reload_takes_over_or_leaves_everything_as_it_was(
    site: tuple[TestClient, Site], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    client, made = site
    assert client.portal is not None
    before, tile = made.current, middle_tile(made.current.services[1])
    url = f"/second/old/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    first = client.get(url)
    own = tmp_path / "own.tif"
    away = own.rename(tmp_path / "away.tif")
    assert before.is_outdated()
    assert client.portal.call(made.reload) is False
    assert made.current is before
    assert client.get(url).content == first.content
    away.unlink()
    make_photo("own", seed=8)
    assert client.portal.call(made.reload) is True
    assert made.current is not before
    assert before.retired
    assert not made.current.is_outdated()
    second = client.get(url)
    assert second.status_code == 200
    assert second.headers["etag"] != first.headers["etag"]
    # The first map has not changed: neither have its keys, so its cached tiles are still found.
    assert made.current.services[0].content == before.services[0].content
    assert made.current.services[0].restorer is before.services[0].restorer


def test_whatever_a_reload_fails_of_the_maps_stay_and_the_next_one_works(
    site: tuple[TestClient, Site], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, made = site
    assert client.portal is not None
    before = made.current

    def fail() -> Generation:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(made, "_load", fail)
        assert client.portal.call(made.reload) is False
    assert "MemoryError" in caplog.text
    assert made.current is before
    assert client.portal.call(made.reload) is True


def test_corrupted_weights_are_refused_and_the_old_ones_go_on(photo: Path, tmp_path: Path) -> None:
    weights = write_tiny_weights(tmp_path / "w.safetensors")
    maps = {"only": Settings(source=str(photo), weights=weights, runtime="openvino")}
    shared = Shared(maps["only"])
    site = Site(open_generation(maps, shared), shared, lambda: open_generation(maps, shared))
    with TestClient(site) as client:
        assert client.portal is not None
        tile = middle_tile(site.current.services[0])
        good = weights.read_bytes()
        for bad in (good[:-100], good[:5000] + bytes(8) + good[5008:], b""):
            weights.write_bytes(bad)
            assert client.portal.call(site.reload) is False
        answer = client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png")
        assert answer.status_code == 200
        before = site.current.services[0].restorer.digest
        write_tiny_weights(weights, name="better")
        assert client.portal.call(site.reload) is True
        assert site.current.services[0].restorer.digest != before
        assert "model=better" in client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png").headers["x-orthosharp"]
