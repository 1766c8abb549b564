"""Weights of relative scale: any pixel size, the photograph's own colours, the same pixels whichever way."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from command_calls import call, refused, restore
from conftest import middle_tile
from PIL import Image
from scipy.ndimage import gaussian_filter

from sr_model import PixelWindow, bundled_weights_path
from tileserver.archives.readers import open_archive
from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress

MERCATOR = "WebMercatorQuad"
HALF_SCALE = bundled_weights_path().with_name("half_scale.safetensors")
# Malmö, where a pixel of zoom 20 has 0.084 m on the ground.
MALMOE = {"crs": "EPSG:3006", "origin": (374_000.0, 6_164_000.0)}

MakePhoto = Callable[..., Path]
Open = Callable[..., TileService]


@pytest.fixture
def open_map() -> Iterator[Open]:
    """Opens maps over the trained half-scale network: `open_map(path, colours="photo")`."""
    opened: list[TileService] = []

    def make(source: Path, **settings: object) -> TileService:
        chosen = {"source": str(source), "weights": HALF_SCALE, "runtime": "openvino", **settings}
        opened.append(TileService(Settings(**chosen)))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for service in opened:
        service.close()


def native_gsd_m(service: TileService) -> float:
    view = service.rasters.view("restored", MERCATOR)
    return view.pixel(view.pyramid.native_zoom).gsd_m


def pixels(service: TileService, tile: TileAddress, layer: str = "restored") -> np.ndarray:
    answer = service.tile(TileRequest(layer, MERCATOR, tile, "png"))
    return np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGBA"))


def shown(rgba: np.ndarray) -> np.ndarray:
    """Colours of the pixels that are not transparent, float64 [n, 3]."""
    return rgba[rgba[..., 3] > 0][:, :3].astype(float)


@pytest.mark.parametrize("gsd_m", [0.05, 0.1, 0.25, 0.6, 1.2, 2.0])
def test_a_photograph_of_any_pixel_size_is_never_coarser_than_itself(
    make_photo: MakePhoto, open_map: Open, gsd_m: float
) -> None:
    service = open_map(make_photo(gsd_m=gsd_m), resolution=gsd_m)
    assert gsd_m / 2.84 < native_gsd_m(service) < gsd_m / 1.41


def test_soft_photographs_are_restored_by_what_they_resolve_but_not_coarser_than_their_pixels(
    make_photo: MakePhoto, open_map: Open
) -> None:
    photo = make_photo(gsd_m=0.305)
    sharp, soft, blurred = (open_map(photo, resolution=metres) for metres in (0.305, 0.61, 3.0))
    assert native_gsd_m(sharp) < native_gsd_m(soft)
    assert native_gsd_m(soft) <= native_gsd_m(blurred) <= 0.305


def test_a_quarter_metre_becomes_a_tenth(make_photo: MakePhoto, open_map: Open, tmp_path: Path) -> None:
    photo = make_photo(gsd_m=0.25, **MALMOE)
    service = open_map(photo, native_zoom=20, resolution=0.25)
    assert service.rasters.view("restored", MERCATOR).pyramid.native_zoom == 20
    assert native_gsd_m(service) == pytest.approx(0.084, abs=0.001)
    assert pixels(service, middle_tile(service))[..., 3].all()
    output = tmp_path / "tenth.tif"
    assert restore(photo, output, HALF_SCALE, "--pixel-size", 0.1, "--resolution", 0.25).exit_code == 0
    with rasterio.open(output) as dataset:
        assert dataset.res == pytest.approx((0.1, 0.1), rel=0.005)
        # The grid ends with whole pixels, the photograph within the last one.
        assert dataset.dataset_mask()[:-1, :-1].all()


def test_a_soft_photograph_of_a_quarter_metre_becomes_a_tenth_too(
    make_photo: MakePhoto, open_map: Open, tmp_path: Path
) -> None:
    """It resolves two of its pixels, as the film of many scans does; what can be asked for does not depend on that."""
    photo = make_photo(gsd_m=0.25, **MALMOE)
    with rasterio.open(photo, "r+") as dataset:
        soft = gaussian_filter(dataset.read().astype(float), (0, 1.6, 1.6))
        dataset.write(soft.round().astype(np.uint8))
    service = open_map(photo, native_zoom=20)
    assert service.rasters.view("restored", MERCATOR).pyramid.native_zoom == 20
    assert restore(photo, tmp_path / "a.tif", HALF_SCALE, "--pixel-size", 0.1).exit_code == 0
    # No coarser than its pixels, however little it resolves.
    refused(restore(photo, tmp_path / "b.tif", HALF_SCALE, "--pixel-size", 0.4), "coarser", "to 0.25 m")
    assert restore(photo, tmp_path / "c.tif", HALF_SCALE, "--pixel-size", 0.25).exit_code == 0


@pytest.mark.parametrize("wanted_m", [0.19, 0.22, 0.25])
def test_the_zoom_nearest_to_a_pixel_size_is_never_coarser_than_the_photograph(
    make_photo: MakePhoto, open_map: Open, wanted_m: float
) -> None:
    # Pixels of zoom 18 have 0.28 m there.
    service = open_map(
        make_photo(gsd_m=0.25, **MALMOE | {"origin": (374_000.0, 6_876_000.0)}), pixel_size=wanted_m
    )
    assert native_gsd_m(service) <= 0.25


def test_a_pixel_size_that_the_network_cannot_draw_is_refused(make_photo: MakePhoto, tmp_path: Path) -> None:
    photo, output = make_photo(gsd_m=0.6), tmp_path / "out.tif"
    for size in (0.1, 0.9):
        refused(
            restore(photo, output, HALF_SCALE, "--pixel-size", size, "--resolution", 0.6),
            "--pixel-size",
            "0.167",
        )
    refused(
        restore(photo, output, HALF_SCALE, "--pixel-size", 0.3, "--native-zoom", 18), "mutually exclusive"
    )


def test_weights_of_one_pixel_size_do_not_take_another(
    photo: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    refused(restore(photo, tmp_path / "out.tif", tiny_weights, "--pixel-size", 0.2), "0.305 m only")


@pytest.mark.parametrize("colours", ["corrected", "photo"])
def test_a_black_and_white_photograph_stays_grey_to_the_bit(
    make_photo: MakePhoto, open_map: Open, colours: str
) -> None:
    service = open_map(make_photo(bands=1), colours=colours)
    for offset in (-6, -3, -1, 0, 1):
        rgba = pixels(service, middle_tile(service, offset))
        assert rgba[..., 3].any()
        assert (rgba[..., 0] == rgba[..., 1]).all()
        assert (rgba[..., 1] == rgba[..., 2]).all()


def test_a_scan_of_black_and_white_has_no_chroma_either(make_photo: MakePhoto, open_map: Open) -> None:
    """Its bands differ by a grey level here and there."""
    photo = make_photo(overviews=())
    with rasterio.open(photo, "r+") as dataset:
        grey = dataset.read().mean(0, keepdims=True)
        bands = grey.repeat(3, 0) + np.random.default_rng(1).integers(0, 2, (3, *grey.shape[1:]))
        dataset.write(bands.clip(0, 255).astype(np.uint8))
    service = open_map(photo)
    pyramid = service.rasters.view("restored", MERCATOR).pyramid
    for zoom in range(pyramid.min_zoom, pyramid.max_zoom + 1):
        rgba = pixels(service, middle_tile(service, zoom - pyramid.native_zoom))
        assert rgba[..., 3].any()
        assert np.ptp(rgba[..., :3], axis=2).max() == 0, f"zoom {zoom}"


@pytest.fixture(scope="module")
def demo() -> Iterator[TileService]:
    """The demo's photograph, whose haze is corrected."""
    path = Path(__file__).parents[2] / "tileserver" / "demo" / "2010.tif"
    service = TileService(Settings(source=str(path), weights=HALF_SCALE, runtime="openvino"))
    yield service
    service.close()


def test_a_tile_has_the_mean_colour_of_its_four_children_at_every_zoom(demo: TileService) -> None:
    pyramid = demo.rasters.view("restored", MERCATOR).pyramid
    for zoom in range(pyramid.min_zoom, pyramid.native_zoom + 1):
        parent = middle_tile(demo, zoom - pyramid.native_zoom)
        children = [
            pixels(demo, TileAddress(zoom + 1, 2 * parent.x + column, 2 * parent.y + row))
            for row in (0, 1)
            for column in (0, 1)
        ]
        below = np.concatenate([shown(child) for child in children])
        assert np.abs(shown(pixels(demo, parent)).mean(0) - below.mean(0)).max() < 1, f"zoom {zoom}"


def test_colours_are_corrected_alike_in_tiles_and_overviews_but_not_in_the_old_layer(
    make_photo: MakePhoto, open_map: Open
) -> None:
    photo = make_photo(gsd_m=0.6)
    with rasterio.open(photo, "r+") as dataset:  # haze
        dataset.write((0.35 * dataset.read().astype(float) + 110).astype(np.uint8))
    plain, corrected = open_map(photo, colours="photo"), open_map(photo)
    for offset in (-4, -1, 0):
        tile = middle_tile(plain, offset)
        old, kept, mapped = (
            shown(pixels(service, tile, layer))
            for service, layer in ((corrected, "old"), (plain, "restored"), (corrected, "restored"))
        )
        assert np.abs(old.mean(0) - kept.mean(0)).max() < 1
        assert mapped.std() > 1.2 * kept.std()
    assert plain.content != corrected.content


@pytest.mark.slow
def test_half_the_strength_is_half_the_way(make_photo: MakePhoto, open_map: Open) -> None:
    photo = make_photo()
    with rasterio.open(photo, "r+") as dataset:
        dataset.write((0.35 * dataset.read().astype(float) + 110).astype(np.uint8))
    tile = middle_tile(open_map(photo))
    none, half, full = (
        pixels(open_map(photo, colour_strength=strength), tile)[..., :3].astype(float)
        for strength in (0.0, 0.5, 1.0)
    )
    assert np.abs((none + full) / 2 - half).mean() < 2


def test_served_seeded_and_restored_pixels_agree(
    make_photo: MakePhoto, open_map: Open, tmp_path: Path
) -> None:
    photo = make_photo(width=320, height=256)
    with rasterio.open(photo, "r+") as dataset:
        dataset.write((0.35 * dataset.read().astype(float) + 110).astype(np.uint8))
    service = open_map(photo)
    tile = middle_tile(service)
    served = pixels(service, tile)
    archive, output = tmp_path / "town.mbtiles", tmp_path / "town.tif"
    options = ("--weights", HALF_SCALE, "--runtime", "openvino")
    assert call("seed", photo, archive, "--format", "png", *options).exit_code == 0
    assert call("restore", photo, output, "--tms", MERCATOR, *options).exit_code == 0
    opened = open_archive(archive)
    seeded = opened.get(tile.z, tile.x, tile.y)
    opened.close()
    assert seeded is not None
    assert (np.asarray(Image.open(io.BytesIO(seeded)).convert("RGBA")) == served).all()
    with rasterio.open(output) as dataset:
        view = service.rasters.view("restored", MERCATOR)
        left, _, _, top = view.pyramid.grid.bounds(tile.z, tile.window)
        row, column = dataset.index(left + dataset.res[0] / 2, top - dataset.res[1] / 2)
        window = rasterio.windows.Window(column, row, 256, 256)
        assert (np.moveaxis(dataset.read((1, 2, 3), window=window), 0, -1) == served[..., :3]).all()


def test_the_difference_is_the_networks_alone(make_photo: MakePhoto, open_map: Open) -> None:
    photo = make_photo()
    with rasterio.open(photo, "r+") as dataset:
        dataset.write((0.35 * dataset.read().astype(float) + 110).astype(np.uint8))
    tile = middle_tile(open_map(photo), -4)
    service = open_map(photo)
    assert np.abs(shown(pixels(service, tile, "difference")) - 128).max() <= 1


def test_windows_of_a_metatile_are_read_with_the_networks_halo(demo: TileService) -> None:
    """The same pixel out of two windows that were cut differently."""
    view = demo.rasters.view("restored", MERCATOR)
    tile = middle_tile(demo)
    window = tile.window
    whole = demo.raster("restored", MERCATOR, view.pyramid.native_zoom, window).rgb.astype(int)
    part = PixelWindow(window.x + 17, window.y + 9, 64, 64)
    cut = demo.raster("restored", MERCATOR, view.pyramid.native_zoom, part).rgb
    assert (whole[9 : 9 + 64, 17 : 17 + 64] == cut).all()


@pytest.mark.slow
def test_a_halo_is_undone_where_it_is_asked_for(make_photo: MakePhoto, open_map: Open) -> None:
    """The photograph's own sharpening: less contrast beside its edges, the same means, and keys of its own."""
    photo = make_photo()
    services = {halo: open_map(photo, halo=halo) for halo in ("off", (0.8, 1.2), "auto")}
    tile = middle_tile(services["off"])
    off, undone, auto = (shown(pixels(service, tile)) for service in services.values())
    assert undone.std() < off.std()
    assert np.abs(undone.mean(0) - off.mean(0)).max() < 1
    assert auto.std() <= off.std()
    assert len({service.content for service in services.values()}) == 3


def test_zooms_below_the_restored_ones_show_the_halo_undone_too(
    make_photo: MakePhoto, open_map: Open
) -> None:
    photo = make_photo(overviews=())
    true = shutil.copy(photo, photo.with_name("true.tif"))
    with rasterio.open(photo, "r+") as dataset:
        rgb = 0.4 * dataset.read().astype(float) + 75
        sharpened = rgb + 1.5 * (rgb - gaussian_filter(rgb, (0, 2, 2)))
        dataset.write(sharpened.round().clip(0, 255).astype(np.uint8))
    with rasterio.open(true, "r+") as dataset:
        dataset.write(rgb.astype(np.uint8))
    wanted, off, undone = (
        open_map(path, halo=halo, colours="photo")
        for path, halo in ((true, "off"), (photo, "off"), (photo, (1.5, 2.0)))
    )
    pyramid = off.rasters.view("restored", MERCATOR).pyramid
    tile = middle_tile(off, pyramid.min_metatile_zoom - 1 - pyramid.native_zoom)
    truth, sharp, restored = (shown(pixels(service, tile)) for service in (wanted, off, undone))
    assert np.abs(restored - truth).mean() < 0.4 * np.abs(sharp - truth).mean()
    assert np.abs(restored.mean(0) - sharp.mean(0)).max() < 1
    # Not so the layer of the old photograph.
    assert (pixels(off, tile, "old") == pixels(undone, tile, "old")).all()


def test_a_halo_of_nonsense_is_refused(make_photo: MakePhoto, tiny_weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    for halo in ("5,1", "0.5", "a,b", "0.5,0"):
        refused(restore(make_photo(), output, HALF_SCALE, "--halo", halo), "--halo", "AMOUNT,RADIUS")
    refused(restore(make_photo(), output, tiny_weights, "--halo", "0.5,1"), "leave it out")
