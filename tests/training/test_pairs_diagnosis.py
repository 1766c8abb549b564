"""Why few or no chips are left, ground without a picture, and how odd files are read."""

import contextlib
import re
import shlex

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from PIL import Image
from quick_cases import quick_cases
from rasterio.enums import ColorInterp
from scipy.ndimage import gaussian_filter
from training_data import FEET, make_ground, write_photo, write_site

from training.cli.main import main
from training.data.dataset import CropDataset, Item, find_pairs, load_all, load_pairs
from training.data.manifest import read_manifest, read_site
from training.data.season import keep_season
from training.errors import DatasetError, PairError, RunError
from training.export.export import export
from training.fit import loading
from training.fit.config import FitConfig
from training.measure.flat_fill import WHITE, edge_fills, filled_share
from training.pairs.make import make_pairs
from training.pairs.reading import Reading
from training.pairs.report import REPORT

SIDE = 520
SMALL = {"size_px": 96, "step_px": 48, "max_shift_m": 4.0, "min_confidence": 3.0, "jobs": 1}


@pytest.fixture(scope="module")
def ground():
    return make_ground(3, SIDE)


def aged(picture):
    """Hazy, soft and half as fine."""
    soft = gaussian_filter(picture, (1, 1, 0)).reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean((1, 3))
    return np.clip(soft * 0.7 + 60, 0, 255).astype(np.uint8)


def sharp(picture):
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_pair(folder, old, new):
    return write_photo(folder / "old.tif", old, 2.0), write_photo(folder / "new.tif", new, 1.0)


@pytest.mark.parametrize("value", quick_cases([255, 128, 0], 255))
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_collar_of_any_colour_is_left_out_of_training_and_validation(ground, tmp_path, value, side):
    old, new = aged(ground), sharp(ground)
    if side == "new":
        new[:, 400:] = value
    else:
        old[:, 200:] = value
    chips = make_pairs(*write_pair(tmp_path, old, new), tmp_path / "out", **SMALL)
    for chip in chips:
        beyond = chip.column * 48 + 96 > 400 + 4
        if beyond:
            assert chip.split == "dropped", chip
    assert any(chip.split == "validation" for chip in chips)
    # In the southernmost rows, which are the validation block, too.
    last = max(chip.row for chip in chips)
    reasons = {chip.reason for chip in chips if chip.row == last and chip.column == 8}
    # Black and white ones are borders, which are hidden as in serving.
    assert reasons == {"filled with one colour" if value == 128 else "no data or black"}


def test_flat_ground_that_is_no_fill_stays(ground):
    rng = np.random.default_rng(0)
    water = np.clip(40 + rng.normal(0, 2, (128, 128, 3)), 0, 255).astype(np.uint8)
    roof = sharp(ground[:128, :128])
    roof[40:55, 40:55] = 255
    for picture in (water, roof, sharp(ground)):
        assert filled_share(picture, [WHITE]) == 0
        assert edge_fills(picture) == []
    roof[40:80, 40:80] = 255
    assert filled_share(roof, []) == 0
    assert filled_share(roof, [WHITE]) == pytest.approx(1600 / 128**2)
    roof[40:110, 20:100] = 70
    assert filled_share(roof, []) == pytest.approx(70 * 80 / 128**2)
    assert filled_share(np.full((128, 128, 3), 7, np.uint8), []) == 1
    collar = sharp(ground)
    collar[:, 440:] = (200, 201, 202)
    assert edge_fills(collar) == [(200, 201, 202)]
    assert edge_fills(collar[::4, ::4], 16) == [(200, 201, 202)]


def test_an_aged_crop_shows_no_collar(ground):
    picture = sharp(ground[:128, :256])
    picture[:, 110:] = 255
    made = CropDataset([], [picture], aged_share=1, seed=0)
    crops = [made[Item(number, 64)][1].permute(1, 2, 0).numpy() for number in range(20)]
    shares = [float((crop == 255).all(2).mean()) for crop in crops]
    assert np.median(shares) < 0.02


def test_chips_of_other_size_than_their_partner_are_refused(tmp_path):
    site = write_site(tmp_path / "town", ("train", "validation"), size=128)
    Image.fromarray(np.zeros((128, 100, 3), np.uint8)).save(site / "old" / "0000_0000.png")
    for read in (find_pairs, load_pairs):
        with pytest.raises(DatasetError, match="100 x 128 px in old/ and 128 x 128 px in new/"):
            read([site], "train")


def failing(photos, out, **options):
    """The error, and the text of the report that was written all the same."""
    with pytest.raises(PairError, match=re.escape(f"{out / REPORT} shows why")) as caught:
        make_pairs(*photos, out, **(SMALL | options))
    text = (out / REPORT).read_text()
    assert "What may be wrong" in text
    assert read_manifest(out)
    return str(caught.value), text


def test_other_ground_is_told_and_the_report_is_written(ground, tmp_path):
    photos = write_pair(tmp_path, aged(make_ground(77, SIDE)), sharp(ground))
    error, text = failing(photos, tmp_path / "out", min_confidence=6.0)
    assert "other ground?" in error
    assert "other ground?" in text


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "room"), [(6, True), (8, False)])
def test_a_ratio_that_is_too_large_is_named_and_what_is_proposed_works(ground, tmp_path, ratio, room):
    side = SIDE // ratio * ratio
    soft = gaussian_filter(ground, (3, 3, 0))[:side, :side]
    coarse = soft.reshape(side // ratio, ratio, side // ratio, ratio, 3).mean((1, 3))
    old = write_photo(tmp_path / "old.tif", sharp(coarse), float(ratio))
    new = write_photo(tmp_path / "new.tif", sharp(ground[:side, :side]), 1.0)
    error, _ = failing((old, new), tmp_path / "out", min_confidence=99.0, max_shift_m=10.0)
    assert f"{ratio}.0 times as large" in error
    if not room:
        assert "take photographs that share more ground" in error
        return
    proposed = re.search(r"use (--gsd \S+ --size \S+ --step \d+)", error)[1]
    words = ["pairs", str(old), str(new), str(tmp_path / "again"), "--max-shift", "8", "--jobs", "1"]
    result = CliRunner().invoke(main, [*words, "--min-confidence", "0", *shlex.split(proposed)])
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_few_chips_are_warned_of_and_what_is_proposed_gives_more(ground, tmp_path):
    old, new = write_pair(tmp_path, aged(ground), sharp(ground))
    words = ["pairs", str(old), str(new), "--size", "96", "--max-shift", "4", "--jobs", "1"]
    words += ["--min-confidence", "3"]
    result = CliRunner().invoke(main, [*words, str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    few = re.search(r"Warning: only (\d+) chips are left .* with (--step \d+)", result.stderr)
    again = CliRunner().invoke(main, [*words, str(tmp_path / "again"), *few[2].split()])
    assert again.exit_code == 0, again.output
    assert sum(chip.split == "train" for chip in read_manifest(tmp_path / "again")) > int(few[1])


def test_another_season_is_named_and_a_black_and_white_photo_is_none(ground, tmp_path):
    green = write_photo(tmp_path / "new.tif", sharp(ground * (0.8, 1.15, 0.7)), 1.0)
    for name, tint, named in (("bare", (1.0, 0.98, 0.9), True), ("grey", (1.0, 1.0, 1.0), False)):
        old = write_photo(tmp_path / f"{name}.tif", aged(ground * tint), 2.0)
        make_pairs(old, green, tmp_path / name, **SMALL)
        hints = read_site(tmp_path / name)["hints"]
        assert any("another season: the new photo is green" in hint for hint in hints) == named


def test_little_overlap_is_named(tmp_path):
    wide = make_ground(5, 2 * SIDE)[:SIDE]
    old = write_photo(tmp_path / "old.tif", aged(wide[:, :SIDE]), 2.0)
    east = 753_000.0 + 420
    new = write_photo(tmp_path / "new.tif", sharp(wide[:, 420 : 420 + SIDE]), 1.0, (east, 1_300_000.0))
    small = SMALL | {"size_px": 64, "step_px": 32}
    with contextlib.suppress(PairError):
        make_pairs(old, new, tmp_path / "out", **small)
    assert any("little overlap: only 19%" in hint for hint in read_site(tmp_path / "out")["hints"])
    assert "little overlap" in (tmp_path / "out" / REPORT).read_text()


def test_a_validation_block_beside_the_photo_and_one_photo_twice_are_refused(ground, tmp_path):
    old, new = write_pair(tmp_path, aged(ground), sharp(ground))
    with pytest.raises(PairError, match="lies outside of the ground that both photographs show"):
        make_pairs(old, new, tmp_path / "out", validation=(0, 0, 10, 10), **SMALL)
    copy = tmp_path / "copy.tif"
    copy.write_bytes(new.read_bytes())
    for twin in (new, copy):
        with pytest.raises(PairError, match="are the same photograph"):
            make_pairs(twin, new, tmp_path / "out", **SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("provenance", "credit", "option"), [(" ", "me", "--provenance"), ("a", "", "--credit")]
)
def test_an_empty_credit_or_provenance_is_refused(tmp_path, provenance, credit, option):
    with pytest.raises(RunError, match=f"{option} is empty"):
        export(tmp_path, tmp_path / "out.safetensors", provenance=provenance, credit=credit)


def test_the_scale_of_confidence_is_in_the_help():
    text = " ".join(CliRunner().invoke(main, ["pairs", "--help"]).output.split())
    assert "in standard deviations around it" in text


def write_tagged(path, values, colours, *, nodata=None, crs=FEET):
    """Bands [bands, height, width] with colour tags, at 2 ft."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=values.shape[2],
        height=values.shape[1],
        count=len(values),
        dtype=values.dtype,
        crs=crs,
        transform=Affine(2.0, 0, 753_000.0, 0, -2.0, 1_300_000.0),
        nodata=nodata,
        photometric="RGB" if ColorInterp.red in colours else "MINISBLACK",
        alpha="yes" if ColorInterp.alpha in colours else "unspecified",  # tags that are set later do not stay
    ) as file:
        file.write(values)
    with rasterio.open(path) as file:
        assert file.colorinterp == colours
    return path


def first_old(out):
    chip = next(chip for chip in read_manifest(out) if chip.split == "train")
    return np.asarray(Image.open(out / "old" / f"{chip.name}.png")), chip


def test_grey_with_alpha_is_taken(ground, tmp_path):
    values = np.moveaxis(aged(ground), 2, 0)[:1]
    alpha = np.full_like(values, 255)
    alpha[:, :, 200:] = 0
    old = write_tagged(
        tmp_path / "old.tif", np.concatenate([values, alpha]), (ColorInterp.gray, ColorInterp.alpha)
    )
    new = write_photo(tmp_path / "new.tif", sharp(ground), 1.0)
    chips = make_pairs(old, new, tmp_path / "out", **SMALL)
    picture, _ = first_old(tmp_path / "out")
    assert (picture[..., 0] == picture[..., 2]).all()
    assert all(chip.split == "dropped" for chip in chips if chip.column * 48 + 96 > 404)


def test_a_range_is_found_told_and_the_same_when_it_is_given(ground, tmp_path):
    bytes_ = np.moveaxis(aged(ground), 2, 0)
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    old = write_tagged(tmp_path / "old.tif", bytes_.astype(np.uint16) * 8, rgb)
    new = write_photo(tmp_path / "new.tif", sharp(ground), 1.0)
    words = ["--size", "96", "--step", "48", "--max-shift", "4", "--min-confidence", "3", "--jobs", "1"]
    result = CliRunner().invoke(main, ["pairs", str(old), str(new), str(tmp_path / "found"), *words])
    assert result.exit_code == 0, result.output
    told = re.search(
        r"old\.tif: its values from \S+ to \S+ are shown; (--rescale \S+) fixes them", result.stdout
    )
    fixed = [str(old), str(new), str(tmp_path / "given"), *told[1].split()]
    result = CliRunner().invoke(main, ["pairs", *fixed, *words])
    assert result.exit_code == 0, result.output
    found, given = (first_old(tmp_path / name)[0] for name in ("found", "given"))
    assert (found == given).all()
    assert found.max() > 200
    assert found.min() < 60


def test_bands_nodata_and_crs_are_as_they_are_said(ground, tmp_path):
    rgb = np.moveaxis(aged(ground * (1.0, 0.8, 0.6)), 2, 0)
    values = np.concatenate([rgb[::-1], rgb[:1] // 2])
    values[:, :, 200:] = 222
    undefined = (ColorInterp.gray, *[ColorInterp.undefined] * 3)
    old = write_tagged(tmp_path / "old.tif", values, undefined, crs=None)
    new = write_photo(tmp_path / "new.tif", sharp(ground), 1.0)
    with pytest.raises(PairError, match="--crs EPSG:CODE"):
        make_pairs(old, new, tmp_path / "out", **SMALL)
    reading = Reading(bands=(3, 2, 1), nodata=222.0, crs=FEET)
    chips = make_pairs(old, new, tmp_path / "out", old=reading, **SMALL)
    picture, _ = first_old(tmp_path / "out")
    assert picture[..., 0].mean() > picture[..., 2].mean() + 20
    east = [chip for chip in chips if chip.column == 8]
    assert {chip.reason for chip in east} == {"no data or black"}
    with pytest.raises(PairError, match="no colour band 7"):
        make_pairs(old, new, tmp_path / "x", old=Reading(bands=(7,), crs=FEET), **SMALL)
    with pytest.raises(PairError, match="not a CRS"):
        make_pairs(old, new, tmp_path / "x", old=Reading(crs="moon"), **SMALL)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--bands", "1,2"], "neither three bands"),
        (["--rescale", "9,1"], "two growing numbers"),
        (["--nodata", "white"], "neither a number nor none"),
    ],
)
def test_values_that_are_none_are_refused(tmp_path, words, why):
    for name in ("old", "new"):
        (tmp_path / name).write_text("")
    arguments = [str(tmp_path / name) for name in ("old", "new", "out")]
    result = CliRunner().invoke(main, ["pairs", *arguments, *words])
    assert result.exit_code == 2
    assert why in " ".join(result.output.split())


def test_chips_beyond_memory_are_read_as_needed_and_give_the_same_crops(tmp_path, monkeypatch):
    site, other = (write_site(tmp_path / name, ("train",) * 2 + ("validation",), size=128) for name in "ab")
    config = FitConfig(
        pairs=(str(site), str(other)), keep_season=(str(other),), sizes_px=(64,), batch=1, steps=2
    )
    loaded = loading.crop_dataset(config)
    said = []
    monkeypatch.setattr(loading, "available_bytes", lambda: 1000)
    stored = loading.crop_dataset(config, said.append)
    assert "read as needed" in said[0]
    for number in range(6):
        for one, same in zip(loaded[Item(number, 90)], stored[Item(number, 90)], strict=True):
            assert one == same if isinstance(one, bool) else bool((one == same).all())


def test_stored_pairs_are_those_that_are_loaded(tmp_path):
    site = write_site(tmp_path / "town", ("train", "train", "validation"), size=96)
    stored, loaded = find_pairs([site], "train"), load_pairs([site], "train")
    assert [pair.shape for pair in stored] == [(96, 96)] * 2
    for one, same in zip(load_all(keep_season(stored)), keep_season(loaded), strict=True):
        assert (one.old == same.load().old).all()
        assert (one.new == same.load().new).all()
