import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from PIL import Image
from training_data import old_and_new
from training_data import write_photo as write

from training.cli.main import main
from training.data.manifest import read_manifest, read_site
from training.errors import DatasetError, PairError
from training.pairs.grid import common_grid
from training.pairs.make import make_pairs
from training.pairs.reading import Reading

US_FOOT_M = 1200 / 3937
FEW = {"size_px": 128, "max_shift_m": 4.0, "min_confidence": 0.0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return old_and_new(tmp_path_factory.mktemp("photos"), 640)


@pytest.fixture(scope="module")
def pairs(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("pairs")
    return make_pairs(*photos, out, size_px=128, max_shift_m=4.0, min_confidence=0.0, drop_changed=0.1), out


def test_the_grid_is_in_metres_whatever_the_unit(photos):
    grid = common_grid(*photos, None, 128)
    assert grid.pixel == pytest.approx(1.0)
    assert (grid.columns, grid.rows) == (5, 5)
    assert grid.gsd_m == pytest.approx(US_FOOT_M, rel=1e-3)


def test_web_mercator_is_measured_on_the_ground(tmp_path):
    # 60 degrees north, where a metre of the map is half a metre, but for the flattening of the Earth.
    place = (1_000_000.0, 8_399_738.0)
    old = write(tmp_path / "old.tif", np.full((200, 200, 3), 90, np.uint8), 2.0, place, "EPSG:3857")
    new = write(tmp_path / "new.tif", np.full((400, 400, 3), 90, np.uint8), 1.0, place, "EPSG:3857")
    grid = common_grid(old, new, None, 100)
    assert (grid.gsd_m, grid.old_gsd_m) == pytest.approx((0.5, 1.0), rel=3e-3)
    half = common_grid(old, new, 1.0, 100)
    assert half.pixel == pytest.approx(2.0, rel=3e-3)
    assert half.columns == 2
    # The old photo in UTM: its pixels are metres whatever the new one's CRS.
    old = write(
        tmp_path / "utm.tif",
        np.full((200, 200, 3), 90, np.uint8),
        1.0,
        (499_060.0, 6_651_411.0),
        "EPSG:32632",
    )
    assert common_grid(old, new, None, 64).old_gsd_m == pytest.approx(1.0, rel=0.01)


def test_chips_are_registered_and_black_wedges_are_left_out(pairs):
    chips, out = pairs
    shifts = [chip.dx_px for chip in chips if chip.split == "train"]
    assert np.median(shifts) == pytest.approx(3, abs=0.05)
    assert shifts == pytest.approx([3] * len(shifts), abs=0.25)
    assert {chip.name: chip.reason for chip in chips}["0000_0000"] == "no data or black"
    assert not (out / "old" / "0000_0000.png").exists()
    for chip in [chip for chip in chips if chip.split != "dropped"][:4]:
        old, new = (np.asarray(Image.open(out / side / f"{chip.name}.png")) for side in ("old", "new"))
        assert old.shape == new.shape == (128, 128, 3)
    site = read_site(out)
    assert site["gsd_m"] == pytest.approx(US_FOOT_M, rel=1e-3)
    assert site["old_gsd_m"] == pytest.approx(2 * US_FOOT_M, rel=1e-3)


def test_validation_is_a_block_with_a_gap_around_it(pairs):
    chips, _ = pairs
    rows = {split: {chip.row for chip in chips if chip.split == split} for split in ("train", "validation")}
    assert rows["validation"] == {4}
    assert max(rows["train"]) <= 2


def test_the_manifest_survives_reading(pairs):
    chips, out = pairs
    assert read_manifest(out) == chips
    assert all(json.loads(line)["split"] for line in (out / "manifest.jsonl").read_text().splitlines())
    with pytest.raises(DatasetError, match="orthosharp-train pairs"):
        read_manifest(out / "old")


def test_what_makes_no_pairs_is_refused_before_any_work(photos, tmp_path):
    old, new = photos
    far = write(tmp_path / "far.tif", np.zeros((64, 64, 3), np.uint8), 2.0, origin=(900_000, 1_300_000))
    nowhere = write(tmp_path / "nowhere.tif", np.zeros((64, 64, 3), np.uint8), 2.0, crs=None)
    deep = write(tmp_path / "deep.tif", np.zeros((320, 320, 3), np.uint16), 2.0)
    table = write(tmp_path / "table.tif", np.zeros((320, 320, 1), np.uint8), 2.0)
    with rasterio.open(table, "r+") as file:
        file.write_colormap(1, {0: (90, 120, 60, 255)})
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no raster")
    degrees = write(tmp_path / "degrees.tif", np.zeros((64, 64, 3), np.uint8), 1e-5, (-73.5, 42), "EPSG:4326")
    cases = [
        ((far, new), "do not overlap"),
        ((broken, new), "not a raster that GDAL can read"),
        ((nowhere, new), "--crs EPSG:CODE"),
        ((deep, new), "one value only"),
        ((table, new), "-expand rgb"),
        ((new, old), "swap them"),
        ((old, degrees), "not projected"),
    ]
    for files, message in cases:
        with pytest.raises(PairError, match=message):
            make_pairs(*files, tmp_path / "out", size_px=128)
    with pytest.raises(PairError, match="finer than the new"):
        make_pairs(old, new, tmp_path / "out", gsd_m=0.1)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_rows_may_run_north(photos, tmp_path):
    north = tmp_path / "north.tif"
    with rasterio.open(photos[1]) as file:
        turned = Affine(1, 0, file.bounds.left, 0, 1, file.bounds.bottom)
        profile, picture = file.profile | {"transform": turned}, file.read()
    with rasterio.open(north, "w", **profile) as file:
        file.write(picture[:, ::-1])
    grids = [common_grid(photos[0], new, None, 128) for new in (photos[1], north)]
    assert grids[0].gsd_m == pytest.approx(grids[1].gsd_m, rel=1e-9)
    assert replace(grids[0], gsd_m=grids[1].gsd_m) == grids[1]
    plain, same = (
        [chip.change for chip in make_pairs(photos[0], new, tmp_path / new.stem, **FEW)]
        for new in (photos[1], north)
    )
    assert same == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("reading", [Reading(), Reading(rescale="auto")])
def test_a_photograph_that_was_cut_off_is_told(photos, tmp_path, reading):
    """As a download that broke off leaves it: GDAL opens it and cannot read its end."""
    old, new = photos
    part = tmp_path / "part.tif"
    part.write_bytes(new.read_bytes()[: new.stat().st_size // 2])
    with pytest.raises(PairError, match=r"part\.tif cannot be read"):
        make_pairs(old, part, tmp_path / "out", size_px=128, max_shift_m=4.0, new=reading)


def test_the_command_says_what_it_made_and_fails_in_one_line(photos, tmp_path):
    old, new = map(str, photos)
    run = CliRunner().invoke(
        main, ["pairs", old, new, str(tmp_path / "out"), "--size", "128", "--max-shift", "4"]
    )
    assert run.exit_code == 0, run.output
    assert "validation: " in run.output
    assert "no data or black" in run.output
    assert "report.html" in run.output
    assert (tmp_path / "out" / "report.html").stat().st_size > 20_000
    run = CliRunner().invoke(main, ["pairs", new, old, str(tmp_path / "no")])
    assert run.exit_code == 2
    assert "Error: " in run.output
    assert "Traceback" not in run.output
