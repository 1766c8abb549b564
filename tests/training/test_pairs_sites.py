"""Whole runs of `make_pairs` on planted shifts, turns, houses, stops and areas."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.warp import transform
from scipy.ndimage import gaussian_filter, rotate
from scipy.ndimage import shift as move
from test_pairs_change import with_houses
from training_data import FEET, make_ground, write_photo

from training.errors import PairError
from training.pairs.grid import common_grid
from training.pairs.make import make_pairs
from training.pairs.selection import plan_chips

SMALL = {"size_px": 128, "max_shift_m": 4.0, "min_confidence": 3.0, "jobs": 2}
SIDE = 520


@pytest.fixture(scope="module")
def ground():
    return make_ground(3, SIDE)


def write_pair(folder, old, new):
    """The new at 1 ft; the old hazy, soft and at 2 ft."""
    soft = gaussian_filter(old, (1, 1, 0)).reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean((1, 3))
    return (
        write_photo(folder / "old.tif", np.clip(soft * 0.7 + 60, 0, 255).astype(np.uint8), 2.0),
        write_photo(folder / "new.tif", np.clip(new, 0, 255).astype(np.uint8), 1.0),
    )


@pytest.fixture(scope="module")
def still(ground, tmp_path_factory):
    """A pair that lies exactly on itself."""
    return write_pair(tmp_path_factory.mktemp("still"), ground, ground)


@pytest.mark.parametrize(("dx", "dy"), [(2.3, -1.6), (-5.5, 3.75)])
def test_planted_shifts_come_back_within_a_tenth_of_a_pixel(ground, tmp_path, dx, dy):
    old = move(ground, (dy, dx, 0), order=3, mode="nearest")
    chips = make_pairs(*write_pair(tmp_path, old, ground), tmp_path / "out", **SMALL)
    found = np.array([(chip.dx_px, chip.dy_px) for chip in chips if chip.reason != "no data or black"])
    assert len(found) >= 8
    assert np.abs(found - (dx, dy)).max() < 0.25
    assert np.abs(np.median(found, axis=0) - (dx, dy)).max() < 0.1
    assert np.median([chip.residual_px for chip in chips if chip.split == "train"]) < 0.1


def test_a_turned_photo_is_refused(ground, tmp_path):
    old = rotate(ground, 4, reshape=False, order=3, mode="reflect")
    with pytest.raises(PairError, match=r"georeference the old photo again|same ground|other ground"):
        make_pairs(*write_pair(tmp_path, old, ground), tmp_path / "out", **(SMALL | {"min_confidence": 4.0}))


def test_chips_with_planted_houses_are_dropped_as_changed(ground, tmp_path):
    built = with_houses(
        np.clip(ground, 0, 255).astype(np.uint8), [(40, 30), (80, 80), (300, 150), (330, 190)]
    )
    chips = make_pairs(*write_pair(tmp_path, ground, built), tmp_path / "out", **SMALL, drop_changed=0.1)
    changes = {chip.name: chip.change for chip in chips}
    most = sorted(changes, key=changes.__getitem__)[-2:]
    assert set(most) == {"0000_0000", "0002_0001"}
    assert {chip.name for chip in chips if chip.reason == "changed"} >= set(most)


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


def test_a_stopped_run_goes_on_and_ends_like_one_that_was_not_stopped(still, tmp_path):
    def stop(stage, done, _total):
        if stage == "cut" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_pairs(*still, tmp_path / "stopped", stop, **(SMALL | {"jobs": 1}))
    early = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped" / "new").glob("*.png")}
    assert 5 <= len(early) < 12
    begun = []
    chips = make_pairs(
        *still, tmp_path / "stopped", lambda stage, done, _: begun.append((stage, done)), **SMALL
    )
    assert ("register", 0) not in begun
    assert {path: path.stat().st_mtime_ns for path in early} == early
    assert chips == make_pairs(*still, tmp_path / "whole", **SMALL)
    for path in (tmp_path / "whole").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "stopped" / path.relative_to(tmp_path / "whole")).read_bytes()

    # The report needs no other file and says what the manifest says.
    page = _Page()
    text = (tmp_path / "whole" / "report.html").read_text()
    page.feed(text)
    pictures = [address for address in page.addresses if not address.startswith("#")]
    assert len(pictures) >= 8
    assert all(address.startswith("data:image/jpeg;base64,") for address in pictures)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "nan" not in text.replace(" nan", "nan").split("<body>")[1].split("data:image")[0]
    for kept in chips:
        assert f"<title>{kept.name}: {kept.reason or kept.split}</title>" in text

    # Another plan does not mix with it.
    with pytest.raises(PairError, match="of other chips, grid"):
        make_pairs(*still, tmp_path / "whole", **(SMALL | {"size_px": 96}))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("hello")
    with pytest.raises(PairError, match="not empty"):
        make_pairs(*still, tmp_path / "other", **SMALL)


def test_chips_are_lossless_and_the_manifest_names_its_sources(still, ground, tmp_path):
    chips = make_pairs(*still, tmp_path / "out", **SMALL)
    kept = next(chip for chip in chips if chip.split == "train")
    new = np.asarray(Image.open(tmp_path / "out" / "new" / f"{kept.name}.png"))
    x, y = kept.column * 128, kept.row * 128
    assert np.array_equal(new, np.clip(ground, 0, 255).astype(np.uint8)[y : y + 128, x : x + 128])
    assert len(kept.old_sha256) == 64
    assert kept.old_sha256 != kept.new_sha256
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["new_sha256"] == kept.new_sha256


def polygon(grid, left, bottom, right, top, crs="EPSG:4326"):
    xs, ys = transform(FEET, crs, [left, right, right, left, left], [bottom, bottom, top, top, bottom])
    assert grid.crs == rasterio.CRS.from_user_input(FEET)
    return {"type": "Polygon", "coordinates": [[list(point) for point in zip(xs, ys, strict=True)]]}


def test_only_chips_wholly_inside_the_areas_are_made(still, tmp_path):
    grid = common_grid(*still, None, 128)
    west = polygon(grid, grid.left - 9, grid.top - 700, grid.left + 260, grid.top + 9)
    path = tmp_path / "areas.geojson"
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": west}]})
    )
    chips = make_pairs(*still, tmp_path / "out", **SMALL, areas=path)
    assert {chip.column for chip in chips} == {0, 1}
    assert {chip.split for chip in chips} >= {"train", "validation"}
    in_feet = polygon(grid, grid.left - 9, grid.top - 700, grid.left + 260, grid.top + 9, FEET)
    path.write_text(json.dumps(in_feet | {"crs": {"properties": {"name": FEET}}}))
    again = make_pairs(*still, tmp_path / "again", **SMALL, areas=path)
    assert [chip.name for chip in again] == [chip.name for chip in chips]


def test_areas_that_hold_no_chips_are_refused(still, tmp_path):
    grid = common_grid(*still, None, 128)
    path = tmp_path / "areas.geojson"
    tiny = polygon(grid, grid.left, grid.top - 100, grid.left + 100, grid.top)
    for content, message in (
        (json.dumps(tiny), "wholly inside --areas"),
        (json.dumps({"type": "Point", "coordinates": [0, 0]}), "Point"),
        (json.dumps({"type": "FeatureCollection", "features": []}), "nothing"),
        ("{not json", "not a GeoJSON"),
        ("[1, 2]", "not a GeoJSON"),
        ('{"features": [{"geometry": null}]}', "not a GeoJSON"),
    ):
        path.write_text(content)
        with pytest.raises(PairError, match=message):
            make_pairs(*still, tmp_path / "out", **SMALL, areas=path)
    assert not (tmp_path / "out").exists()


def test_overlapping_chips_keep_the_gap(still):
    grid = common_grid(*still, None, 128, 32)
    splits = plan_chips(grid, None, None)
    assert len(splits) > 4 * 9
    lowest = min(grid.bounds(*key)[1] for key, split in splits.items() if split == "train")
    highest = max(grid.bounds(*key)[3] for key, split in splits.items() if split == "validation")
    assert lowest - highest >= 127.4


def test_a_block_that_leaves_nothing_is_refused_before_any_work(still, tmp_path):
    grid = common_grid(*still, None, 128)
    everywhere = (grid.left, grid.top - SIDE, grid.left + SIDE, grid.top)
    for block, message in ((everywhere, "left for training"), ((0, 0, 1, 1), "lies outside of the ground")):
        with pytest.raises(PairError, match=message):
            make_pairs(*still, tmp_path / "out", **SMALL, validation=block)
    with pytest.raises(PairError, match="half a chip"):
        make_pairs(*still, tmp_path / "out", **(SMALL | {"max_shift_m": 40.0}))
    assert not (tmp_path / "out").exists()


def test_a_shift_shears_the_window_about_its_centre(still):
    from training.measure.register import LocalShift

    grid = common_grid(*still, None, 128)
    centre = grid.centre_px(1, 1)
    plain = grid.window(centre, 128)
    assert plain @ (0, 0) == pytest.approx((grid.bounds(1, 1)[0], grid.bounds(1, 1)[3]))
    shift = LocalShift(2.0, -1.0, warp=(0.01, 0.0, 0.0, 0.0))
    moved = grid.window(centre, 128, shift)
    x, y = plain @ (64, 64)
    assert moved @ (64, 64) == pytest.approx((x + 2, y + 1))
    assert moved @ (128, 64) == pytest.approx((x + 64 + 2 + 0.64, y + 1))
    assert replace(grid, pixel=2.0).window(centre, 128).a == pytest.approx(2)
