"""`orthosharp restore`: pixels in their places, said whose they are, and the same as the tiles'."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from command_calls import refused, restore
from conftest import clean_environment, command_line
from PIL import Image
from rasterio.warp import Resampling, reproject, transform_bounds
from rio_cogeo.cogeo import cog_validate

from sr_model import PixelWindow, load_weights
from tileserver.errors import ReadError
from tileserver.jobs import disk, retry
from tileserver.render import recipe as key
from tileserver.render.renderer import Renderer
from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import BBox, TileAddress

# Not the default, so that a command that forgot it would show.
FINISH = ("--contrast", 1.3, "--colours", "photo")

MakePhoto = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_S", (0.0,))


@pytest.fixture(scope="module")
def service(holed: Path, tiny_weights: Path) -> Iterator[TileService]:
    settings = Settings(
        source=str(holed), weights=tiny_weights, runtime="openvino", contrast=1.3, colours="photo"
    )
    made = TileService(settings)
    yield made
    made.close()


def test_a_valid_cog_in_the_photographs_crs_that_says_what_it_is(
    holed: Path, restored: Path, tiny_weights: Path
) -> None:
    valid, errors, warnings = cog_validate(restored, strict=True)
    assert valid, (errors, warnings)
    weights = load_weights(tiny_weights)
    with rasterio.open(restored) as dataset, rasterio.open(holed) as old:
        assert dataset.crs == old.crs
        assert dataset.bounds.left == pytest.approx(old.bounds.left)
        assert dataset.bounds.top == pytest.approx(old.bounds.top)
        # UTM's metres are not quite the ground's.
        assert dataset.res[0] == pytest.approx(weights.spec.gsd_m, rel=2e-3)
        assert dataset.overviews(1)
        tags = dataset.tags()
        assert dataset.nodata is None
        hidden = dataset.dataset_mask() == 0
    assert hidden.mean() == pytest.approx(1 / 8, abs=0.01)
    assert tags["CREDIT"] == tags["TIFFTAG_COPYRIGHT"] == "Test Survey <1998>"
    assert (tags["MODEL"], tags["MODEL_DIGEST"]) == ("tiny", weights.digest)
    assert tags["AI_RESTORED"].startswith("yes")
    assert tags["DATE"][:2] == "20"
    assert not list(restored.parent.glob("*.part"))
    assert not restored.with_name("restored.tif.restoring").exists()


def test_the_picture_lies_where_the_photograph_does(holed: Path, restored: Path) -> None:
    with rasterio.open(restored) as dataset, rasterio.open(holed) as old:
        target = np.zeros((old.height, old.width))
        grey = dataset.read().astype(np.float64).mean(axis=0)
        grids = {"src_crs": dataset.crs, "src_transform": dataset.transform, "dst_crs": old.crs}
        reproject(grey, target, dst_transform=old.transform, resampling=Resampling.average, **grids)
        before = old.read().astype(np.float64).mean(axis=0)
    inner = (slice(40, 216), slice(200, 600))  # east of the hole

    def likeness(shift: int) -> float:
        moved = np.roll(before, (shift, shift), axis=(0, 1))[inner]
        return float(np.corrcoef(moved.ravel(), target[inner].ravel())[0, 1])

    assert likeness(0) > 0.8
    assert likeness(0) > max(likeness(1), likeness(-1))


def test_web_mercator_has_the_pixels_of_the_tiles(
    holed: Path, tiny_weights: Path, service: TileService, tmp_path: Path
) -> None:
    path = tmp_path / "web.tif"
    result = restore(holed, path, tiny_weights, "--tms", "WebMercatorQuad", *FINISH)
    assert result.exit_code == 0, result.output
    assert cog_validate(path, strict=True)[0]
    pyramid = service.rasters.view("restored", "WebMercatorQuad").pyramid
    zoom = pyramid.native_zoom
    with rasterio.open(path) as dataset:
        assert dataset.crs.to_epsg() == 3857
        assert dataset.block_shapes[0] == (256, 256)
        window = pyramid.grid.covering(zoom, BBox(*dataset.bounds))
        assert (window.x % 256, window.y % 256, window.width % 256, window.height % 256) == (0, 0, 0, 0)
        assert (window.width, window.height) == (dataset.width, dataset.height)
        rgba = np.dstack([*dataset.read(), dataset.dataset_mask()])
    tiles = 0
    for y in range(0, window.height, 256):
        for x in range(0, window.width, 256):
            tile = TileAddress(zoom, (window.x + x) // 256, (window.y + y) // 256)
            body = service.tile(TileRequest("restored", "WebMercatorQuad", tile, "png")).body
            picture = np.asarray(Image.open(io.BytesIO(body)).convert("RGBA"))
            np.testing.assert_array_equal(rgba[y : y + 256, x : x + 256], picture)
            tiles += 1
    assert tiles > 20


def test_an_interrupted_run_goes_on(
    holed: Path, restored: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, render, calls = tmp_path / "again.tif", Renderer.metatile, []

    def interrupt(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return render(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Renderer, "metatile", interrupt)
        result = restore(holed, path, tiny_weights, "--jobs", "1")
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr
    assert not path.exists()
    kept = list(tmp_path.rglob("*.tif"))
    assert kept
    refused(restore(holed, path, tiny_weights, "--tms", "WebMercatorQuad"), "other options", "--overwrite")
    monkeypatch.setattr(Renderer, "metatile", lambda *rest: calls.append(1) or render(*rest))
    assert restore(holed, path, tiny_weights).exit_code == 0
    with rasterio.open(path) as ours, rasterio.open(restored) as whole:
        np.testing.assert_array_equal(ours.read(), whole.read())
        np.testing.assert_array_equal(ours.dataset_mask(), whole.dataset_mask())
        metatiles = -(-whole.width // 1024) * -(-whole.height // 1024)
    assert len(calls) - 2 == metatiles - len(kept), "what was restored is not restored again"


@pytest.mark.slow
def test_a_second_process_keeps_away(
    holed: Path, restored: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, render = tmp_path / "same.tif", Renderer.metatile
    others: list[subprocess.CompletedProcess[str]] = []

    def meanwhile(*arguments: object) -> object:
        if not others:
            command = command_line("restore", holed, path, "--weights", tiny_weights, "--overwrite", "--bbox")
            bbox = "-73.541,42.396,-73.540,42.397"
            others.append(
                subprocess.run([*command, bbox], capture_output=True, text=True, env=clean_environment())
            )
        return render(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Renderer, "metatile", meanwhile)
    assert restore(holed, path, tiny_weights, "--jobs", "1").exit_code == 0
    assert others[0].returncode == 2
    assert "another process is using" in others[0].stderr
    with rasterio.open(path) as ours, rasterio.open(restored) as alone:
        np.testing.assert_array_equal(ours.read(), alone.read())


def test_a_finished_file_is_not_made_twice_nor_replaced_unasked(
    holed: Path, restored: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    before = restored.read_bytes()
    assert "nothing to do" in restore(holed, restored, tiny_weights).stderr
    refused(restore(holed, restored, tiny_weights, "--tms", "WebMercatorQuad"), "--overwrite")
    letter = tmp_path / "letter.tif"
    letter.write_text("Dear server")
    for options in ((), ("--overwrite",)):
        refused(restore(holed, letter, tiny_weights, *options), "not made by orthosharp")
    assert (restored.read_bytes(), letter.read_text()) == (before, "Dear server")


def test_another_recipe_makes_another_picture(
    holed: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade: neither half a picture of each, nor an old one that passes for new."""
    path, part = tmp_path / "whole.tif", tmp_path / "part.tif"
    rectangle = ("--bbox", "-73.541,42.396,-73.540,42.397")
    assert restore(holed, path, tiny_weights, *rectangle).exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr("tileserver.cli.restore.write_cog", interrupt_now)
        assert restore(holed, part, tiny_weights, *rectangle).exit_code == 130
    monkeypatch.setattr(key, "RECIPE_VERSION", key.RECIPE_VERSION + 1)
    for output in (path, part):
        refused(restore(holed, output, tiny_weights, *rectangle), "other", "--overwrite")
        assert restore(holed, output, tiny_weights, *rectangle, "--overwrite").exit_code == 0


def interrupt_now(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_metatile_that_fails_is_listed_and_made_by_the_next_run(
    holed: Path, restored: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    path, render = tmp_path / "part.tif", Renderer.metatile

    def fail(self: Renderer, view: object, metatile: PixelWindow, *rest: object) -> object:
        if metatile.x > 0:
            raise ReadError("a block of the photograph cannot be read")
        return render(self, view, metatile, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Renderer, "metatile", fail)
        result = restore(holed, path, tiny_weights)
    assert result.exit_code == 1, result.output
    assert "cannot be read" in (tmp_path / "part.tif.failures.txt").read_text()
    with rasterio.open(path) as dataset:
        assert not dataset.dataset_mask()[:, 1024:].any()
    assert restore(holed, path, tiny_weights).exit_code == 0
    assert {file.name for file in tmp_path.iterdir()} == {"part.tif"}
    with rasterio.open(path) as ours, rasterio.open(restored) as whole:
        np.testing.assert_array_equal(ours.read(), whole.read())


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_nodata_stays_nodata_and_no_other_pixel_has_its_value(
    make_photo: MakePhoto, tiny_weights: Path, tmp_path: Path, dtype: str
) -> None:
    path, photo = tmp_path / "out.tif", make_photo(hole="nodata", dtype=dtype)
    options = () if dtype == "uint8" else ("--rescale", "0,65535")
    assert restore(photo, path, tiny_weights, *options).exit_code == 0
    with rasterio.open(path) as dataset:
        assert dataset.nodata == 0
        pixels = dataset.read()
    hidden = (pixels == 0).all(axis=0)
    np.testing.assert_array_equal(hidden, (pixels == 0).any(axis=0))
    assert hidden.mean() == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.parametrize(
    ("crs", "gsd", "origin"),
    [("EPSG:4326", 6e-6, (-73.5, 42.4)), ("EPSG:2260", 2.0, (600_000.0, 1_400_000.0))],
    ids=["degrees", "feet"],
)
def test_other_units(
    make_photo: MakePhoto,
    tiny_weights: Path,
    tmp_path: Path,
    crs: str,
    gsd: float,
    origin: tuple[float, float],
) -> None:
    photo, path = make_photo(crs=crs, gsd_m=gsd, origin=origin, width=300, height=200), tmp_path / "out.tif"
    assert restore(photo, path, tiny_weights).exit_code == 0
    with rasterio.open(photo) as old, rasterio.open(path) as new:
        assert new.crs == old.crs
        assert new.bounds.right == pytest.approx(old.bounds.right, abs=2 * new.res[0])
        assert new.bounds.bottom == pytest.approx(old.bounds.bottom, abs=2 * new.res[0])
        assert new.width > old.width


def test_a_rectangle_and_an_area(holed: Path, restored: Path, tiny_weights: Path, tmp_path: Path) -> None:
    with rasterio.open(restored) as whole:
        west, south, east, north = transform_bounds(whole.crs, "EPSG:4326", *whole.bounds)
        middle = ((west + east) / 2, (south + north) / 2)
        part = tmp_path / "part.tif"
        box = f"{middle[0]},{south - 1},{east + 1},{middle[1]}"
        assert restore(holed, part, tiny_weights, "--bbox", box).exit_code == 0
        with rasterio.open(part) as dataset:
            assert dataset.width < 0.6 * whole.width
            np.testing.assert_array_equal(dataset.read(), whole.read(window=whole.window(*dataset.bounds)))
        ring = [[middle[0], south], [east, south], [east, middle[1]], [middle[0], south]]
        area = tmp_path / "area.geojson"
        area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
        cut = tmp_path / "cut.tif"
        assert restore(holed, cut, tiny_weights, "--area", area).exit_code == 0
        with rasterio.open(cut) as dataset:
            shown = dataset.dataset_mask() != 0
            assert 0.4 < shown.mean() < 0.6
            same = whole.read(window=whole.window(*dataset.bounds))
            np.testing.assert_array_equal(dataset.read()[:, shown], same[:, shown])


def test_refusals_touch_nothing(
    holed: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.tif"
    refused(restore(holed, output, tiny_weights, "--bbox", "10,10,11,11"), "does not intersect")
    refused(restore(holed, output, tiny_weights, "--tms", "Nowhere"), "--tms Nowhere")
    refused(restore(holed, tmp_path / "out.jpg", tiny_weights), ".tif", "--chips")
    refused(restore(holed, tmp_path / "no" / "out.tif", tiny_weights), "create it first")
    refused(restore(holed, output, tiny_weights, "--bbox", "1,2,3,4", "--area", "a"), "one of them")
    refused(restore(tmp_path / "none.tif", output, tiny_weights), "none.tif")
    refused(restore(holed, ".", tiny_weights, "--chips", "300"), "cannot be the output")
    usage = shutil.disk_usage(tmp_path)._replace(free=10**5)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
    refused(restore(holed, output, tiny_weights), "100.0 kB", "make room")
    assert not list(tmp_path.iterdir())


def test_the_photograph_itself_is_never_the_output(
    make_photo: MakePhoto, tiny_weights: Path, tmp_path: Path
) -> None:
    source = make_photo()
    before = source.read_bytes()
    link = tmp_path / "link.tif"
    link.symlink_to(source)
    for name in (source, link):
        refused(restore(source, name, tiny_weights, "--overwrite"), "is the photograph")
    mosaic = tmp_path / "mosaic.vrt"
    rasterio.shutil.copy(source, mosaic, driver="VRT")
    refused(restore(mosaic, source, tiny_weights, "--overwrite"), "is the photograph")
    assert source.read_bytes() == before


def test_foreign_folders_are_refused_and_kept(holed: Path, tiny_weights: Path, tmp_path: Path) -> None:
    """Where chips would go, and where the work in progress would lie."""
    letter = tmp_path / "chips" / "letter.txt"
    letter.parent.mkdir()
    letter.write_text("Dear server")
    for options in ((), ("--overwrite",)):
        refused(restore(holed, letter.parent, tiny_weights, "--chips", "300", *options), "chips")
    (letter.parent / "chips.json").write_text("Dear server")
    refused(restore(holed, letter.parent, tiny_weights, "--chips", "300"), "--overwrite")
    alike = tmp_path / "scans" / "scan_12345_67890.jpg"
    alike.parent.mkdir()
    alike.write_text("Dear server")
    refused(
        restore(holed, alike.parent, tiny_weights, "--chips", "300", "--overwrite"), "scans", "another folder"
    )
    assert alike.read_text() == "Dear server"
    work = tmp_path / "out.tif.restoring" / "letter.txt"
    work.parent.mkdir()
    work.write_text("Dear server")
    refused(restore(holed, tmp_path / "out.tif", tiny_weights, "--overwrite"), "out.tif.restoring")
    assert letter.read_text() == work.read_text() == "Dear server"


def test_a_file_whose_last_blocks_the_disk_did_not_take_is_not_published(
    holed: Path, restored: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL says nothing of that: it closes the file as if all was well."""
    copy = rasterio.shutil.copy

    def cut_off(source: Path, path: Path, **options: object) -> None:
        copy(source, path, **options)
        os.truncate(path, path.stat().st_size - 1000)

    path = tmp_path / "out.tif"
    with monkeypatch.context() as patch:
        patch.setattr(rasterio.shutil, "copy", cut_off)
        result = restore(holed, path, tiny_weights)
    assert result.exit_code == 1, result.output
    assert "make room" in result.stderr
    assert not path.exists()
    assert restore(holed, path, tiny_weights).exit_code == 0
    with rasterio.open(path) as ours, rasterio.open(restored) as whole:
        np.testing.assert_array_equal(ours.read(), whole.read())


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="Debian: apt-get install gdal-bin")
def test_gdalinfo_shows_tags_and_places(holed: Path, restored: Path, tiny_weights: Path) -> None:
    def gdalinfo(path: Path) -> str:
        command = ["gdalinfo", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    folder = holed.with_name("shown")
    assert restore(holed, folder, tiny_weights, "--chips", "700").exit_code == 0
    whole, chip = gdalinfo(restored), gdalinfo(min(folder.glob("*.png")))
    for text in (whole, chip):
        assert "CREDIT=Test Survey <1998>" in text
        assert "AI_RESTORED=yes" in text
        assert f"MODEL_DIGEST={load_weights(tiny_weights).digest}" in text
        assert "UTM zone 18N" in text
    assert "LAYOUT=COG" in whole
    assert "Overviews: " in whole
    assert "PER_DATASET" in whole  # the mask
    with rasterio.open(restored) as dataset:
        assert f"Origin = ({dataset.transform.c:.15f}," in whole
