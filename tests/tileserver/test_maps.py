"""Several maps on one server, and reloads that replace them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import middle_tile, write_tiny_weights
from starlette.testclient import TestClient

from tileserver.errors import SourceError
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.maps import Generation, ReloadableMaps, open_generation


@pytest.fixture
def two_maps(
    photo: Path, make_photo: Callable[..., Path], tiny_weights: Path
) -> Iterator[tuple[TestClient, ReloadableMaps]]:
    """A client and the application of two maps; the photograph of the second belongs to the test."""
    own = make_photo("own", seed=3)
    maps = {
        name: Settings(source=str(path), weights=tiny_weights, runtime="openvino", name=name)
        for name, path in (("first", photo), ("second", own))
    }
    shared, admission = Shared(maps["first"]), Admission(maps["first"])

    def load() -> Generation:
        if not own.exists():
            raise SourceError("gone")
        return open_generation(maps, shared, admission)

    application = ReloadableMaps(load(), shared, admission, load)
    with TestClient(application) as client:
        yield client, application


def test_maps_have_paths_of_their_own_and_share_a_network(
    two_maps: tuple[TestClient, ReloadableMaps],
) -> None:
    client, application = two_maps
    assert client.get("/config.json").json()["name"] == "first"
    assert client.get("/second/config.json").json()["name"] == "second"
    template = client.get("/second/tilejson.json").json()["tiles"][0]
    assert template.startswith("http://testserver/second/restored/tiles/")
    one, other = application.current.services
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
    two_maps: tuple[TestClient, ReloadableMaps], make_photo: Callable[..., Path], tmp_path: Path
) -> None:
    client, application = two_maps
    assert client.portal is not None
    before, tile = application.current, middle_tile(application.current.services[1])
    url = f"/second/old/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    first = client.get(url)
    own = tmp_path / "own.tif"
    away = own.rename(tmp_path / "away.tif")
    assert before.is_outdated()
    assert client.portal.call(application.reload) is False
    assert application.current is before
    assert client.get(url).content == first.content
    away.unlink()
    make_photo("own", seed=8)
    assert client.portal.call(application.reload) is True
    assert application.current is not before
    assert before.retired
    assert not application.current.is_outdated()
    second = client.get(url)
    assert second.status_code == 200
    assert second.headers["etag"] != first.headers["etag"]
    # The first map has not changed: neither have its keys, so its cached tiles are still found.
    assert application.current.services[0].content == before.services[0].content
    assert application.current.services[0].restorer is before.services[0].restorer


def test_maps_survive_any_failure_of_a_reload_and_the_next_one_works(
    two_maps: tuple[TestClient, ReloadableMaps],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, application = two_maps
    assert client.portal is not None
    before = application.current

    def fail() -> Generation:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(application, "_load", fail)
        assert client.portal.call(application.reload) is False
    assert "MemoryError" in caplog.text
    assert application.current is before
    assert client.portal.call(application.reload) is True


def test_corrupted_weights_are_refused_and_the_old_ones_stay_in_use(photo: Path, tmp_path: Path) -> None:
    weights = write_tiny_weights(tmp_path / "w.safetensors")
    maps = {"only": Settings(source=str(photo), weights=weights, runtime="openvino")}
    shared, admission = Shared(maps["only"]), Admission(maps["only"])

    def load() -> Generation:
        return open_generation(maps, shared, admission)

    application = ReloadableMaps(load(), shared, admission, load)
    with TestClient(application) as client:
        assert client.portal is not None
        tile = middle_tile(application.current.services[0])
        good = weights.read_bytes()
        for bad in (good[:-100], good[:5000] + bytes(8) + good[5008:], b""):
            weights.write_bytes(bad)
            assert client.portal.call(application.reload) is False
        answer = client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png")
        assert answer.status_code == 200
        before = application.current.services[0].restorer.digest
        write_tiny_weights(weights, name="better")
        assert client.portal.call(application.reload) is True
        assert application.current.services[0].restorer.digest != before
        assert "model=better" in client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png").headers["x-orthosharp"]
