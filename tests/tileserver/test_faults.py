"""Injected faults: the right status, nothing wrong cached, and recovery without a restart.

Others are where their subject is: stores in test_store, a dying worker in test_concurrency, weights and files that
are replaced under a running server in system/test_reload.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rasterio
import rasterio.shutil
from conftest import middle_tile
from damage import block, overwrite
from starlette.testclient import TestClient

from tileserver.errors import ReadError
from tileserver.photo.view import View
from tileserver.service import Tile, TileRequest, TileService
from tileserver.tiling.raster import Raster
from tileserver.web.app import create_app

MakeService = Callable[..., TileService]
MERCATOR = "WebMercatorQuad"


def test_a_block_that_does_not_decode(make_service: MakeService, make_photo: Callable[..., Path]) -> None:
    path = make_photo("damaged")
    offset, size = block(path, 2, 2)
    good = overwrite(path, offset, b"\xff" * size)
    service = make_service(source=str(path))
    service.warm_up()  # one damaged block under a sample of the tone map does not prevent the start
    client = TestClient(create_app(service.settings, service))
    tile = middle_tile(service)
    west = f"{tile.z}/{tile.x - 2}/{tile.y}"
    for layer in ("restored", "old"):
        url = f"/{layer}/tiles/{MERCATOR}/{tile.z}/{tile.x}/{tile.y}.png"
        answer = client.get(url)
        assert answer.status_code == 502
        assert answer.headers["cache-control"] == "no-store"
        assert str(path.parent) not in answer.text
        assert service.cached(TileRequest(layer, MERCATOR, tile, "png")) is None
    assert client.get(f"/old/tiles/{MERCATOR}/{west}.png").status_code == 200, "the tile beside it is whole"
    overwrite(path, offset, good)
    # The kernel's buffers are those of the file, but each open dataset has read a little further than it had to.
    for pool in service.old._pools:
        pool.close()
    for layer in ("restored", "old"):
        assert client.get(f"/{layer}/tiles/{MERCATOR}/{tile.z}/{tile.x}/{tile.y}.png").status_code == 200


def test_a_provisional_tone_map_has_keys_of_its_own(
    make_service: MakeService,
    make_photo: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"source": str(make_photo("momentary")), "store": str(tmp_path / "store")}
    read, failures = View.read, iter(range(3))

    def fails_at_first(*arguments: Any) -> Raster:
        if next(failures, None) is not None:
            raise ReadError("no answer")
        return read(*arguments)

    def overview() -> tuple[Tile, Tile]:
        service = make_service(**settings)
        reach = service.rasters.view("restored", MERCATOR).pyramid.min_metatile_zoom
        tile = middle_tile(service)
        up = tile.z - reach + 1
        above = replace(tile, z=reach - 1, x=tile.x >> up, y=tile.y >> up)
        wanted = TileRequest("restored", MERCATOR, above, "png")
        return service.tile(wanted), service.tile(wanted)

    with monkeypatch.context() as patched:
        patched.setattr(View, "read", fails_at_first)
        provisional, again = overview()
    assert again.hit
    assert again.etag == provisional.etag
    proper, _ = overview()
    assert not proper.hit, "a tile made with a provisional tone map must not be found under the final key"
    assert proper.etag != provisional.etag
    assert overview()[0].hit


def test_a_truncated_cog(make_service: MakeService, make_photo: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "cog.tif"
    rasterio.shutil.copy(make_photo(), path, driver="COG", compress="deflate", blocksize=128)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    service = make_service(source=str(path))
    client = TestClient(create_app(service.settings, service))
    tile = middle_tile(service)
    south = f"{tile.z}/{tile.x}/{tile.y + 1}"
    for layer in ("restored", "old"):
        answer = client.get(f"/{layer}/tiles/{MERCATOR}/{south}.png")
        assert answer.status_code == 502, "half a picture must not look like a whole one"
        assert answer.headers["cache-control"] == "no-store"
    path.write_bytes(whole)
    assert client.get("/readyz").status_code == 503
    fresh = make_service(source=str(path))
    assert fresh.content != service.content


def test_a_file_that_is_gone_and_comes_back(
    make_service: MakeService, make_photo: Callable[..., Path]
) -> None:
    path = make_photo("gone")
    service = make_service(source=str(path))
    service.ready = True
    client = TestClient(create_app(service.settings, service))
    tile = middle_tile(service)
    url = f"/old/tiles/{MERCATOR}/{tile.z}/{tile.x}/{tile.y}"
    assert client.get(f"{url}.png").status_code == 200
    away = path.rename(path.with_suffix(".away"))
    assert client.get(f"{url}.webp").status_code == 503
    assert client.get("/readyz").status_code == 503
    assert client.get(f"{url}.png").status_code == 200, "what is cached is still right"
    away.rename(path)
    assert client.get("/readyz").status_code == 200
    assert client.get(f"{url}.webp").status_code == 200


def test_a_clock_that_goes_back(
    make_service: MakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(store=str(tmp_path), store_bytes=2**20)
    tile = middle_tile(service)
    first = service.tile(TileRequest("old", MERCATOR, tile, "png"))
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    second = service.tile(TileRequest("old", MERCATOR, tile, "webp"))
    assert first.body
    assert second.body
    assert service.tile(TileRequest("old", MERCATOR, tile, "webp")).hit
    assert all(seconds >= 0 for seconds in second.seconds.values())
