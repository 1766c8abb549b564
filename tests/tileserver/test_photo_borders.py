"""Borders, nodata, footprints and exclusions are hidden at every zoom and in every output; ground never is."""

from __future__ import annotations

import gc
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from command_calls import call, refused, restore, seed
from odd_photos import (
    COARSE,
    CRS,
    FINE,
    SIDE,
    TRANSFORM,
    inner,
    likeness,
    same_place,
    seen,
    served,
    town,
    turned,
    write,
)
from quick_cases import quick_cases
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.warp import reproject, transform
from scipy import ndimage

from tileserver.errors import SourceError
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.small_copy import read_values
from tileserver.photo.source import Source
from tileserver.photo.virtual import VirtualPhoto

TOWN = town()
LIES = turned(20)
EVERYWHERE = np.ones((SIDE, SIDE), bool)
# An ellipsoid without a datum.
NO_DATUM = "+proj=utm +zone=18 +ellps=bessel +units=m +no_defs"
JPEG = {"compress": "jpeg", "photometric": "YCBCR", "interleave": "pixel", "jpeg_quality": 75}


def bordered(value: float, picture: np.ndarray = TOWN, where: np.ndarray = LIES) -> np.ndarray:
    return np.where(where, picture, picture.dtype.type(value))


def hidden_by(path: Path, **options: Any) -> np.ndarray:
    """What is hidden of a photograph at full size, bool [height, width]."""
    source = Source.open(str(path), **options)
    with open_dataset(source.path) as dataset:
        hidden = ~read_values(dataset, source.bands)[1]
    source.close()
    return hidden


def with_alpha(values: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    band = np.full((1, SIDE, SIDE), 255, values.dtype) if alpha is None else alpha[None].astype(values.dtype)
    return np.concatenate([values, band])


BORDERS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "black": (bordered(0), {}),
    "white": (bordered(255), {}),
    "black, JPEG": (bordered(0), JPEG),
    "white, JPEG, overviews": (bordered(255), {**JPEG, "overviews": (2,)}),
    "grey": (bordered(255)[:1], {"compress": "jpeg"}),
    "with alpha": (with_alpha(bordered(0)), {"alpha": "yes", "photometric": "RGB", "overviews": (2,)}),
    "negative": (255 - bordered(255)[:1], {"photometric": "MINISWHITE"}),
    "16 bits": (bordered(0, TOWN.astype(np.uint16) * 12), {"photometric": "RGB"}),
    "fill value of floats": (bordered(-9999, (TOWN[:1] / 255).astype(np.float32)), {}),
    "nodata in JPEG, black": (bordered(0), {**JPEG, "nodata": 0}),
    "nodata in JPEG, white": (bordered(255), {**JPEG, "nodata": 255, "overviews": (2,)}),
    "dark photograph": (bordered(0, TOWN // 6 + 8), {}),
}


@pytest.mark.parametrize(
    "kind", quick_cases(BORDERS, "black", "white, JPEG, overviews", "with alpha", "negative", "16 bits")
)
def test_a_border_is_hidden_at_every_zoom(kind: str, tmp_path: Path, tiny_weights: Path) -> None:
    values, profile = BORDERS[kind]
    path = write(tmp_path / "old.tif", values, **profile)
    with served(path, tiny_weights) as client:
        for zoom in (COARSE, FINE):
            shown = seen(client, "old", zoom)
            same_place(LIES, shown)
            # No fringe: what is seen is the picture, up to its rim.
            rim = (shown[..., 3] > 0) & ~inner(LIES, 4)
            assert not (shown[rim] == 0).all(axis=1).any()
            if client.app.state.service.old.info.rescale[0] in (0, 255):  # type: ignore[attr-defined]
                assert np.percentile(shown[rim][:, 1], 1) > 8
                assert np.percentile(shown[rim][:, 1], 99) < 242
        assert any("masked" in note for note in client.app.state.service.old.info.notes)  # type: ignore[attr-defined]


def test_every_layer_and_command_hides_the_same(tmp_path: Path, tiny_weights: Path) -> None:
    values, profile = BORDERS["white, JPEG, overviews"]
    path = write(tmp_path / "old.tif", values, **profile)
    with served(path, tiny_weights) as client:
        zoom = client.app.state.service.rasters.view("restored", "WebMercatorQuad").pyramid.native_zoom  # type: ignore[attr-defined]
        for further in (-1, 0, 1):
            shown = seen(client, "restored", zoom + further)
            same_place(LIES, shown)
            # Neither restored from the border nor mixed with it.
            rim, inside = (shown[..., 3] > 0) & ~inner(LIES, 4), shown[inner(LIES, 4)]
            assert np.percentile(shown[rim][:, 1], 99) <= np.percentile(inside[:, 1], 99.5)
        seeded = seed(path, tmp_path / "tiles", tiny_weights, "--format", "png", "--zooms", str(zoom))
        assert "a white border of value 255" in seeded.stderr
        for file in (tmp_path / "tiles").glob("*/*/*.png"):
            z, x, y = file.parts[-3], file.parts[-2], file.stem
            assert client.get(f"/tiles/{z}/{x}/{y}.png").content == file.read_bytes()
    result = restore(path, tmp_path / "sharp.tif", tiny_weights)
    assert result.exit_code == 0, result.output
    assert "a white border of value 255" in result.stderr
    same_place(LIES, mask_of(tmp_path / "sharp.tif"))
    assert "a white border of value 255" in call("info", path, "--weights", tiny_weights).stdout


def mask_of(output: Path) -> np.ndarray:
    """The mask of a restored file at the photograph's pixels, as the alpha of uint8 [height, width, 4]."""
    seen_there = np.zeros((SIDE, SIDE, 4), np.uint8)
    with rasterio.open(output) as sharp:
        alpha = np.zeros((SIDE, SIDE), np.uint8)
        grids = {"dst_transform": TRANSFORM, "dst_crs": CRS, "resampling": Resampling.nearest}
        reproject(sharp.dataset_mask(), alpha, src_transform=sharp.transform, src_crs=sharp.crs, **grids)
    seen_there[..., 3] = alpha
    return seen_there


GROUND: dict[str, Any] = {
    "a lake at the edge": (
        (np.mgrid[:SIDE, :SIDE][0] > 150) & (abs(np.mgrid[:SIDE, :SIDE][1] - 110) < 60),
        2,
        1.5,
    ),
    "a round lake without grain": (
        np.hypot(np.mgrid[:SIDE, :SIDE][0] - SIDE, np.mgrid[:SIDE, :SIDE][1] - 110) < 80,
        0,
        0.0,
    ),
    "a white roof at the edge": (
        (np.mgrid[:SIDE, :SIDE][0] < 50) & (abs(np.mgrid[:SIDE, :SIDE][1] - 90) < 30),
        255,
        0,
    ),
    "a shadow inside": (ndimage.binary_erosion(turned(0), iterations=50), 0, 0.0),
    "a sea": (
        np.mgrid[:SIDE, :SIDE][0] > 120 + 14 * np.sin(np.mgrid[:SIDE, :SIDE][1] / 8),
        1,
        1.0,
    ),
    "nothing but water": (EVERYWHERE, 9, 2.0),
    "nothing but black": (EVERYWHERE, 0, 0.0),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", GROUND)
def test_ground_is_never_taken_for_a_border(kind: str, compressed: bool, tmp_path: Path) -> None:
    where, value, noise = GROUND[kind]
    values = TOWN.astype(float)
    values[:, where] = value + np.random.default_rng(1).normal(0, 1, (3, int(where.sum()))) * noise
    values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    path = write(tmp_path / "old.tif", values, **(JPEG if compressed else {}))
    assert not hidden_by(path).any()


def test_a_dark_roof_inside_a_border_is_shown(tmp_path: Path) -> None:
    values = bordered(0)
    values[:, 100:130, 90:130] = 0
    for name, profile in {"plain": {}, "jpeg": JPEG}.items():
        hidden = hidden_by(write(tmp_path / f"{name}.tif", values, **profile))
        assert not hidden[95:135, 85:135].any()
        assert hidden[inner(~LIES)].all()


def test_a_border_can_be_shown_named_or_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "black.tif", bordered(0))
    assert not hidden_by(path, nodata="none").any()
    np.testing.assert_array_equal(hidden_by(path, nodata=(0.0,)), ~LIES)
    # Paper is neither white nor of one value.
    paper = bordered(0).astype(float)
    paper[:, ~LIES] = 228 + np.random.default_rng(1).normal(0, 3, (3, int((~LIES).sum())))
    paper[:, 100:110, 100:110] = 228
    scan = write(tmp_path / "paper.tif", paper.astype(np.uint8))
    assert hidden_by(scan)[~LIES].mean() > 0.99
    hidden = hidden_by(scan, nodata=(228.0, 14.0))
    assert hidden[~LIES].mean() > 0.99
    assert not hidden[inner(LIES, 8)].any(), "not connected to the edge"


def test_nodata_of_the_file_is_obeyed_and_can_be_overruled(tmp_path: Path) -> None:
    hole = EVERYWHERE.copy()
    hole[80:120, 80:120] = False
    path = write(tmp_path / "old.tif", bordered(9, where=hole), nodata=9)
    np.testing.assert_array_equal(hidden_by(path), ~hole)
    assert not hidden_by(path, nodata="none").any()
    other = Source.open(str(path), nodata=(200.0,))
    assert other.info.nodata == 200
    other.close()


def test_alpha_and_nodata_both_hide(tmp_path: Path, tiny_weights: Path) -> None:
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:90] = 0
    values = with_alpha(bordered(7), alpha)
    path = write(tmp_path / "old.tif", values, photometric="RGB", alpha="yes", nodata=7, overviews=(2,))
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    with served(path, tiny_weights) as client:
        for zoom in (COARSE, FINE):
            same_place(LIES & (alpha > 0), seen(client, "old", zoom))


def test_a_16_bit_alpha_band_whose_opaque_is_255_agrees_in_neighbouring_windows(
    tmp_path: Path, tiny_weights: Path
) -> None:
    alpha = np.where(LIES, 255, 0)
    values = with_alpha(bordered(300, TOWN.astype(np.uint16) * 257), alpha)
    path = write(tmp_path / "old.tif", values, photometric="RGB", alpha="yes")
    with served(path, tiny_weights, nodata="none") as client:
        shown = seen(client, "old", FINE)
        same_place(LIES, shown)
        assert likeness(shown, TOWN, inner(LIES)) > 0.97


def geojson(path: Path, left: int, top: int, right: int, bottom: int) -> Path:
    """A rectangle of a photograph's pixels, in degrees."""
    corners = [
        TRANSFORM * at for at in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    ]
    lons, lats = transform(CRS, "EPSG:4326", *zip(*corners, strict=True))
    polygon = {"type": "Polygon", "coordinates": [list(zip(lons, lats, strict=True))]}
    path.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": polygon}))
    return path


def test_excluded_ground_is_in_no_layer_and_no_output(tmp_path: Path, tiny_weights: Path) -> None:
    path = write(tmp_path / "old.tif", TOWN, overviews=(2, 4))
    later = write(tmp_path / "new.tif", town(seed=2))
    area = geojson(tmp_path / "site.geojson", 70, 60, 150, 130)
    where = EVERYWHERE.copy()
    where[60:130, 70:150] = False
    with served(path, tiny_weights, exclude=area, new=str(later)) as client:
        for layer in ("old", "restored", "difference", "new"):
            for zoom in (COARSE - 1, FINE):
                shown = seen(client, layer, zoom)
                # A pixel is shown if at least half of it may be; its colour is that half's.
                assert not shown[inner(~where, 1)].any(), f"{layer} at {zoom}"
                assert shown[inner(where, 6)][:, 3].mean() > 0.99
        zoom = client.app.state.service.rasters.view("restored", "WebMercatorQuad").pyramid.native_zoom  # type: ignore[attr-defined]
        options = ("--exclude", area, "--format", "png", "--zooms", str(zoom))
        assert seed(path, tmp_path / "tiles", tiny_weights, *options).exit_code == 0
        for file in (tmp_path / "tiles").glob("*/*/*.png"):
            z, x, y = file.parts[-3], file.parts[-2], file.stem
            assert client.get(f"/tiles/{z}/{x}/{y}.png").content == file.read_bytes()
    output = tmp_path / "sharp.tif"
    result = restore(path, output, tiny_weights, "--exclude", area)
    assert result.exit_code == 0, result.output
    assert "excluded" in result.stderr
    same_place(where, mask_of(output))
    with rasterio.open(output) as sharp:
        assert not sharp.read()[:, sharp.dataset_mask() == 0].any()


def test_a_footprint_shows_its_ground_alone(tmp_path: Path, tiny_weights: Path) -> None:
    path = write(tmp_path / "old.tif", TOWN, overviews=(2,))
    area = geojson(tmp_path / "sheet.geojson", 40, 30, 180, 200)
    where = ~EVERYWHERE
    where[30:200, 40:180] = True
    with served(path, tiny_weights, footprint=area) as client:
        for layer, zoom in (("old", COARSE - 1), ("old", FINE), ("restored", FINE)):
            same_place(where, seen(client, layer, zoom), 6 if zoom < COARSE else 3)


def test_polygons_are_checked_and_part_of_the_key(tmp_path: Path, tiny_weights: Path) -> None:
    path = write(tmp_path / "old.tif", TOWN)
    site, far = (
        geojson(tmp_path / "site.geojson", 9, 9, 50, 50),
        geojson(tmp_path / "far.geojson", 900, 0, 950, 50),
    )
    plain, cut = Source.open(str(path)), Source.open(str(path), exclude=site)
    assert plain.info.reading != cut.info.reading
    assert str(site) in cut.info.files
    geojson(site, 9, 9, 60, 60)
    assert cut.is_changed
    cut.close()
    assert any("nothing is excluded" in one for one in Source.open(str(path), exclude=far).info.warnings)
    refused(call("info", path, "--weights", tiny_weights, "--footprint", far), "--footprint", "info")
    whole = geojson(tmp_path / "whole.geojson", -9, -9, 999, 999)
    refused(call("info", path, "--weights", tiny_weights, "--exclude", whole), "--exclude", "nothing")
    refused(call("info", path, "--weights", tiny_weights, "--exclude", path), "--exclude", "GeoJSON")


def test_overviews_without_the_mask_are_not_used(tmp_path: Path, tiny_weights: Path) -> None:
    masked = write(tmp_path / "masked.tif", bordered(0), mask=LIES)
    text = tmp_path / "old.vrt"
    with rasterio.open(masked) as dataset:
        rasterio.shutil.copy(dataset, text, driver="VRT")
    pyramid = write(tmp_path / "pyramid.tif", bordered(0)[:, ::2, ::2])
    pyramid.rename(tmp_path / "old.vrt.ovr")
    with rasterio.open(text) as dataset:
        assert dataset.overviews(1) == [2]
    with served(text, tiny_weights) as client:
        info = client.app.state.service.old.info  # type: ignore[attr-defined]
        assert info.overviews == ()
        assert any("overviews" in warning and "not used" in warning for warning in info.warnings)
        for zoom in (COARSE - 1, FINE):
            same_place(LIES, seen(client, "old", zoom), 6)
    good = write(tmp_path / "good.tif", bordered(0), mask=LIES, overviews=(2,))
    assert Source.open(str(good)).info.overviews == (2,)


def test_a_damaged_block_costs_its_own_ground_only(tmp_path: Path) -> None:
    path = write(tmp_path / "old.tif", bordered(0), compress="deflate")
    with rasterio.open(path) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{what}_1_1", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE")
        )
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * size)
    source = Source.open(str(path))
    assert any("border" in note for note in source.info.notes)
    source.close()


def test_a_photograph_of_few_pixels_is_opened(tmp_path: Path) -> None:
    for shape in ((3, 1, 1), (1, 2, 5), (3, 16, 16)):
        hidden = hidden_by(write(tmp_path / f"{shape[1]}.tif", TOWN[: shape[0], : shape[1], : shape[2]]))
        assert not hidden.any()


@pytest.mark.parametrize("value", [1, 3, 5, 8, 12, 240, 247, 250, 253])
def test_a_border_need_not_be_exactly_black_or_white(value: int, tmp_path: Path) -> None:
    plain = Source.open(str(write(tmp_path / "old.tif", bordered(value))))
    assert any(f"border of value {value}," in note for note in plain.info.notes)
    plain.close()
    np.testing.assert_array_equal(hidden_by(tmp_path / "old.tif"), ~LIES)
    if 8 < value < 247:
        return
    # A picture of full contrast has values on both sides of its border's.
    full = np.clip((TOWN.astype(int) - 60) * 2, 0, 255).astype(np.uint8)
    rim = LIES & ~inner(LIES, 1)
    full[:, rim] = 128
    np.testing.assert_array_equal(hidden_by(write(tmp_path / "full.tif", bordered(value, full))), ~LIES)


@pytest.mark.parametrize(("collar", "margin", "profile"), [(0, 255, {}), (255, 0, {}), (0, 255, JPEG)])
def test_a_collar_inside_a_margin_is_hidden(
    collar: int, margin: int, profile: dict[str, Any], tmp_path: Path
) -> None:
    frame = ~EVERYWHERE
    frame[20:-20, 20:-20] = True
    hidden = hidden_by(
        write(tmp_path / "old.tif", bordered(margin, bordered(collar), where=frame), **profile)
    )
    assert hidden[inner(~LIES)].mean() > 0.999
    assert not hidden[inner(LIES, 4)].any()


@pytest.mark.parametrize("quality", quick_cases([60, 75, 90], 75))
@pytest.mark.parametrize(("collar", "margin"), [(0, 255), (255, 0)])
@pytest.mark.parametrize("angle", quick_cases([10, 20], 20))
def test_a_noisy_collar_inside_a_margin_is_hidden(
    quality: int, collar: int, margin: int, angle: int, tmp_path: Path, tiny_weights: Path
) -> None:
    """Where compression rings along the margin, along the collar and along the photograph."""
    side = 700
    lies, frame = turned(angle, side), np.zeros((side, side), bool)
    frame[50:-50, 50:-50] = True
    values = bordered(margin, bordered(collar, town(side), lies), frame)
    path = write(tmp_path / "old.tif", values, **{**JPEG, "jpeg_quality": quality})
    hidden = hidden_by(path)
    assert hidden[inner(~lies)].mean() > 0.999
    assert hidden[inner(lies, 4)].mean() < 0.001
    if quality == 60:
        with served(path, tiny_weights) as client:
            shown = seen(client, "old", FINE, side)
        assert (shown[..., 3] > 0)[inner(~lies)].mean() < 0.001
        assert (shown[..., 3] == 0)[inner(lies, 4)].mean() < 0.001


NOISY = [*itertools.product(("turned", "one side", "blurred"), (0, 12, 243, 255), (1, 2, 3, 4))]
NOISY_AND_LARGE = [("large", value, 4) for value in (0, 12, 243, 255)]


@pytest.mark.parametrize(
    ("kind", "value", "spread"), quick_cases([*NOISY, *NOISY_AND_LARGE], *NOISY, NOISY_AND_LARGE[-1])
)
def test_a_collar_with_the_noise_of_a_scanner_is_hidden(
    kind: str, value: int, spread: int, tmp_path: Path
) -> None:
    side = 2600 if kind == "large" else 400
    lies = turned(15, side)
    if kind == "one side":
        lies[:] = True
        lies[:, :60] = False
    random = np.random.default_rng(spread)
    # A roof as bright as the paper, beside it, would be taken for it.
    ground = np.clip(np.tile(town(400), (1, 7, 7))[:, :side, :side], 35, 215)
    values = np.where(lies, ground, value + random.normal(0, spread, (3, side, side)))
    if kind == "blurred":
        values = ndimage.gaussian_filter(values, (0, 0.8, 0.8))
    values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    hidden = hidden_by(write(tmp_path / "old.tif", values, overviews=(2, 4) if kind == "large" else None))
    assert hidden[inner(~lies)].mean() > 0.9995
    assert hidden[inner(lies)].mean() < 0.0005


def test_water_with_ripples_is_no_scanner_noise(tmp_path: Path) -> None:
    """Its shades are longer than grain, although its shore is a straight quay from edge to edge."""
    water = np.mgrid[:SIDE, :SIDE][0] > 120
    random = np.random.default_rng(1)
    shades = ndimage.gaussian_filter(random.normal(0, 1, (SIDE, SIDE)), 6) * 6 / 0.047 / 2
    for value in (12, 20):
        values = np.where(water, value + shades + random.normal(0, 2, (3, SIDE, SIDE)), TOWN)
        path = write(tmp_path / f"{value}.tif", np.clip(np.rint(values), 0, 255).astype(np.uint8))
        assert not hidden_by(path).any()


def test_a_mask_and_a_nodata_value_both_hide(tmp_path: Path, tiny_weights: Path) -> None:
    hole = EVERYWHERE.copy()
    hole[60:140, 50:170] = False
    values = bordered(7, np.where(TOWN == 7, 8, TOWN).astype(np.uint8))
    path = write(tmp_path / "old.tif", values, nodata=7, mask=hole, blockxsize=256, blockysize=256)
    np.testing.assert_array_equal(hidden_by(path), ~(LIES & hole))
    with served(path, tiny_weights) as client:
        for zoom in (COARSE, FINE):
            same_place(LIES & hole, seen(client, "old", zoom))


def test_a_bright_roof_in_one_corner_is_shown(tmp_path: Path) -> None:
    for value in (3, 240, 250):
        values = TOWN.copy()
        values[:, :100, :100] = value
        assert not hidden_by(write(tmp_path / f"{value}.tif", values)).any()


def test_what_is_refused_leaves_nothing_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MemoryFile] = []
    store = VirtualPhoto._store

    def remembered(self: VirtualPhoto, text: str) -> str:
        name = store(self, text)
        made.append(self._files[-1])
        return name

    monkeypatch.setattr(VirtualPhoto, "_store", remembered)
    path = write(tmp_path / "no_datum.tif", bordered(0), crs=NO_DATUM)
    with pytest.raises(SourceError, match="--inaccurate refuse"):
        Source.open(str(path), placing=Placing(inaccurate="refuse"))
    gc.collect()
    assert made
    assert all(file.closed for file in made)
