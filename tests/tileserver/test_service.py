"""One inference per metatile for all requests; failures are never cached."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import middle_tile, write_tiny_weights
from PIL import Image

from sr_model import InferenceError
from tileserver.errors import OutsideError, OverloadedError, ReadError, SourceChangedError
from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import METATILE_PX, TileAddress

MakeService = Callable[..., TileService]
MERCATOR = "WebMercatorQuad"


def request(
    tile: TileAddress, layer: str = "restored", extension: str = "png", tms: str = MERCATOR
) -> TileRequest:
    return TileRequest(layer, tms, tile, extension)  # type: ignore[arg-type]


def pixels(service: TileService, tile: TileAddress, layer: str = "restored") -> np.ndarray:
    body = service.tile(request(tile, layer)).body
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.int16)


def inferences(service: TileService) -> float:
    return service.metrics.inferences._value.get()


def metatile_corner(service: TileService) -> TileAddress:
    """First tile of the metatile in the middle of the photograph."""
    tile = middle_tile(service)
    return TileAddress(tile.z, tile.x // 4 * 4, tile.y // 4 * 4)


def test_one_inference_fills_a_metatile_and_the_five_tiles_above(make_service: MakeService) -> None:
    service = make_service()
    first = metatile_corner(service)
    tiles = [TileAddress(first.z, first.x + i, first.y + j) for i in range(4) for j in range(4)]
    tiles += [
        TileAddress(first.z - 1, first.x // 2 + i, first.y // 2 + j) for i in range(2) for j in range(2)
    ]
    tiles += [TileAddress(first.z - 2, first.x // 4, first.y // 4)]
    tiles += [TileAddress(first.z + 1, first.x * 2 + 3, first.y * 2 + 1)]
    tiles += [TileAddress(first.z + 2, first.x * 4 + 3, first.y * 4 + 1, 2)]
    for tile in tiles:
        service.tile(request(tile))
    assert inferences(service) == 1


def test_64_concurrent_requests_in_4_metatiles_are_4_inferences(make_service: MakeService) -> None:
    service = make_service()
    first = metatile_corner(service)
    # The photograph covers parts of at least two by two metatiles around its middle one.
    pyramid = service.rasters.view("restored", MERCATOR).pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    left = first.x - 4 if extent.x < (first.x - 1) * 256 else first.x
    top = first.y - 4 if extent.y < (first.y - 1) * 256 else first.y
    tiles = [TileAddress(first.z, left + i, top + j) for i in range(8) for j in range(8)]
    inside = [tile for tile in tiles if pyramid.touches(tile.z, tile.window)]
    metatiles = {(tile.x // 4, tile.y // 4) for tile in inside}
    assert len(metatiles) == 4
    requests = [request(inside[number % len(inside)]) for number in range(64)]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(service.tile, requests))
    assert all(answer.body for answer in answers)
    assert inferences(service) == 4
    assert all(service.cached(one) for one in requests)


def test_a_tile_at_2x_has_the_pixels_of_the_next_zoom(make_service: MakeService) -> None:
    service = make_service()
    for offset in (-4, -3, -1, 0, 1):
        tile = middle_tile(service, offset)
        doubled = pixels(service, TileAddress(tile.z, tile.x, tile.y, 2))
        assert doubled.shape == (512, 512, 3)
        child = TileAddress(tile.z + 1, 2 * tile.x + 1, 2 * tile.y)
        if service.rasters.view("restored", MERCATOR).pyramid.touches(child.z, child.window):
            np.testing.assert_array_equal(doubled[:256, 256:], pixels(service, child))


@pytest.mark.parametrize("taste", [{}, {"colours": "photo"}, {"contrast": 1.2}])
def test_zooming_never_flashes(make_service: MakeService, taste: dict[str, object]) -> None:
    """Mean colours of a tile and its children agree at all zooms, although overviews bypass the network."""
    service = make_service(**taste)
    native = service.rasters.view("restored", MERCATOR).pyramid.native_zoom
    for offset in range(-4, 2):
        child = middle_tile(service, offset)
        near = pixels(service, child)
        far = pixels(service, TileAddress(child.z - 1, child.x // 2, child.y // 2))
        x, y = child.x % 2 * 128, child.y % 2 * 128
        small = near.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
        same = far[y : y + 128, x : x + 128]
        valid = (small > 10).all(axis=2) & (same > 10).all(axis=2)
        assert valid.mean() > 0.02, f"zoom {child.z} of {native}"
        flash = np.abs(small[valid].mean(axis=0) - same[valid].mean(axis=0)).max()
        assert flash < 3, f"zoom {child.z} of {native}"


def test_old_tone_keeps_the_old_colours_and_the_model_its_own(make_service: MakeService) -> None:
    means = {}
    for name, settings in (("model", {}), ("old", {"colours": "photo"})):
        service = make_service(**settings)
        tile = middle_tile(service)
        before, after = pixels(service, tile, "old"), pixels(service, tile)
        means[name] = np.abs(before.mean(axis=(0, 1)) - after.mean(axis=(0, 1))).max()
    assert means["old"] < 2
    assert means["model"] > 5


@pytest.mark.parametrize("offset", [0, -1])
def test_difference_is_what_the_network_added(make_service: MakeService, offset: int) -> None:
    """After the map of colours is taken out, in luminance, on the photograph's own pixels."""
    service = make_service()
    tile = middle_tile(service)
    view = service.rasters.view("old", tile_set := "WebMercatorQuad")
    shares = np.array([0.299, 0.587, 0.114])
    # Read with what lies around the photograph, as the metatile is, by the same resampler.
    around = view.read(tile.z, tile.window.grown(1024)).rgb[1024:-1024, 1024:-1024]
    old = service.rasters.tone().tone_map.apply(around) @ shares
    side = 1 << round(math.log2(view.source.info.pixel.gsd_m / view.pixel(tile.z).gsd_m))
    change = (pixels(service, tile) @ shares - old).reshape(256 // side, side, 256 // side, side).mean((1, 3))
    wanted = np.clip(128 + 4 * change.repeat(side, 0).repeat(side, 1), 0, 255)
    assert change.std() > 0.5, "the network changes nothing"
    if offset == 0:
        seen = pixels(service, tile, "difference")
        assert (seen == seen[..., :1]).all()
        assert np.abs(seen[..., 0] - wanted).max() <= 1
    else:
        parent = service.raster("difference", tile_set, tile.z - 1, tile.window.scaled_down(2)).rgb[..., 0]
        assert np.abs(parent - wanted.reshape(128, 2, 128, 2).mean((1, 3))).max() <= 1.5


def test_outside_needs_no_inference(make_service: MakeService) -> None:
    service = make_service()
    tile = middle_tile(service)
    for wrong in (
        TileAddress(tile.z, tile.x + 100, tile.y),
        TileAddress(tile.z + 3, tile.x * 8, tile.y * 8),
        TileAddress(tile.z, -1, 0),
        TileAddress(3, 8, 0),
    ):
        with pytest.raises(OutsideError):
            service.tile(request(wrong))
    for layer, tms in (("newest", MERCATOR), ("new", MERCATOR), ("old", "NoSuchSet")):
        with pytest.raises(OutsideError):
            service.tile(request(tile, layer, tms=tms))
    assert inferences(service) == 0


def test_hole_is_kept_and_its_edge_has_no_dark_fringe(
    make_service: MakeService, make_photo: Callable[..., Path]
) -> None:
    holed = make_service(source=str(make_photo("holed", hole="mask")))
    whole = make_service()
    pyramid = holed.rasters.view("restored", MERCATOR).pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    # A tile inside the hole, and one across its eastern edge.
    y = (extent.y + extent.height // 4) // 256
    inside = TileAddress(pyramid.native_zoom, (extent.x + extent.width // 8) // 256, y)
    image = Image.open(io.BytesIO(holed.tile(request(inside)).body))
    assert image.mode == "RGBA"
    assert np.asarray(image)[..., 3].max() == 0
    assert holed.tile(request(inside, extension="jpg")).body == b""
    across = TileAddress(pyramid.native_zoom, (extent.x + extent.width // 4) // 256, y)
    cut = np.asarray(Image.open(io.BytesIO(holed.tile(request(across)).body)), np.int16)
    full = pixels(whole, across)
    edge = (cut[..., 3] != 0) & (np.roll(cut[..., 3], 3, axis=1) == 0)
    assert 100 < np.count_nonzero(edge) < 2000
    assert abs(cut[..., :3][edge].mean() - full[edge].mean()) < 6
    white = np.asarray(Image.open(io.BytesIO(holed.tile(request(across, extension="jpg")).body)))
    assert white[cut[..., 3] == 0].mean() > 245


def test_a_failed_inference_is_not_kept(make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service()
    tile = middle_tile(service)
    with monkeypatch.context() as patch:
        patch.setattr(service.restorer, "restore", lambda _: (_ for _ in ()).throw(RuntimeError("boom")))
        for _ in range(2):
            with pytest.raises(InferenceError):
                service.tile(request(tile))
    assert service.cached(request(tile)) is None
    assert service.tile(request(tile)).body
    assert inferences(service) == 1


def test_a_failed_read_is_not_kept(make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service()
    tile = middle_tile(service)
    with monkeypatch.context() as patch:
        patch.setattr(service.old, "read", lambda *_, **__: (_ for _ in ()).throw(ReadError("a block")))
        with pytest.raises(ReadError):
            service.tile(request(tile, "old"))
        with pytest.raises(ReadError):
            service.tile(request(tile))
    assert service.tile(request(tile, "old")).body
    assert service.tile(request(tile)).body


def test_replaced_photograph_is_not_served_under_old_keys(
    make_service: MakeService, make_photo: Callable[..., Path]
) -> None:
    first = make_service(source=str(make_photo()))
    tile = middle_tile(first)
    tag = first.key(request(tile)).digest
    make_photo(seed=9)
    with pytest.raises(SourceChangedError):
        first.tile(request(tile))
    assert make_service(source=str(make_photo(seed=9))).key(request(tile)).digest != tag


def test_keys_differ_in_every_part(make_service: MakeService, tmp_path: Path) -> None:
    service = make_service()
    tile = middle_tile(service)
    doubled = TileAddress(tile.z, tile.x, tile.y, 2)
    tags = {
        service.key(request(tile, layer, ext)).digest
        for layer in ("old", "restored")
        for ext in ("png", "webp")
    }
    tags.add(service.key(request(doubled)).digest)
    other_weights = write_tiny_weights(tmp_path / "w.safetensors", name="other")
    for settings in ({"weights": other_weights}, {"rescale": (0, 200)}, {"bands": (3, 2, 1)}):
        tags.add(make_service(**settings).key(request(tile)).digest)
    assert len(tags) == 8


def test_the_wait_for_the_network_ends_and_its_result_is_cached(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(deadline_s=0.5)
    callers = service.restorer.callers
    gate, begun, restore = threading.Event(), threading.Barrier(callers + 1), service.restorer.restore

    def slow(rgb: np.ndarray, photos: object) -> np.ndarray:
        begun.wait(60)
        assert gate.wait(60)
        return restore(rgb, photos)

    monkeypatch.setattr(service.restorer, "restore", slow)
    pyramid = service.rasters.view("restored", "WebMercatorQuad").pyramid
    zoom = pyramid.native_zoom
    parts = [part for _, part in pyramid.pieces(zoom, pyramid.grid.covering(zoom, pyramid.extent))]
    # Of as many metatiles.
    tiles = [TileAddress(zoom, part.x // 256, part.y // 256) for part in parts[: callers + 1]]
    with ThreadPoolExecutor(callers) as pool:
        first = [pool.submit(service.tile, request(tile)) for tile in tiles[:-1]]
        begun.wait(60)
        with pytest.raises(OverloadedError):
            service.tile(request(tiles[-1]))
        gate.set()
        assert all(tile.result(60).body for tile in first)
    assert all(service.cached(request(tile)) for tile in tiles[:-1])


def test_cache_of_no_bytes_still_serves(make_service: MakeService) -> None:
    service = make_service(cache_bytes=0)
    tile = middle_tile(service)
    first = service.tile(request(tile)).body
    assert service.tile(request(tile)).body == first
    assert service.cached(request(tile)) is None


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORTHOSHARP_SOURCE", "a.tif")
    monkeypatch.setenv("ORTHOSHARP_RESCALE", "0,4095")
    monkeypatch.setenv("ORTHOSHARP_BANDS", "4,1,2")
    settings = Settings()  # type: ignore[call-arg]
    assert (settings.source, settings.rescale, settings.bands) == ("a.tif", (0.0, 4095.0), (4, 1, 2))
    with pytest.raises(ValueError, match="MIN below MAX"):
        Settings(source="a.tif", rescale=(5, 1))


def test_metatile_size_suits_every_stride() -> None:
    assert METATILE_PX % 32 == 0
