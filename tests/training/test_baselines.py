from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_data import strip, write_photo, write_site

from training.data.dataset import load_pairs
from training.errors import BaselineError, PairError
from training.evaluate.baselines import baseline_names, check_baselines, read_baseline
from training.evaluate.score import validation

SPLITS = ("train", "validation", "validation")
ORIGIN = (753_000.0, 1_300_000.0)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("baselines") / "town", SPLITS, size=128)


def read(path, site):
    return read_baseline(path, *validation(site), load_pairs([site], "validation"))


def test_a_baseline_is_read_where_the_chips_are(tmp_path, site):
    picture = strip(site, "new", SPLITS)
    made = read(write_photo(tmp_path / "gan.tif", picture, 1.0, ORIGIN), site)
    assert len(made) == 2
    for chip, mine in enumerate(made, start=1):
        wanted = picture[:, chip * 128 : (chip + 1) * 128]
        inside = slice(4, -4)
        assert np.abs(mine[inside, inside].astype(int) - wanted[inside, inside]).max() <= 1


def test_a_baseline_that_lies_where_the_old_photo_lies_is_read_there(tmp_path):
    site = write_site(tmp_path / "moved", SPLITS, size=128, shift=(5.0, -3.0))
    picture = strip(site, "new", SPLITS)
    # The old photo shows each place 5 px further right and 3 px further up: so does a picture made from it.
    in_its_place = write_photo(tmp_path / "a.tif", picture, 1.0, (ORIGIN[0] + 5, ORIGIN[1] + 3))
    on_the_chips = write_photo(tmp_path / "b.tif", picture, 1.0, ORIGIN)
    inside = slice(8, -8)
    first, second = (read(path, site)[0][inside, inside].astype(int) for path in (in_its_place, on_the_chips))
    wanted = np.asarray(Image.open(site / "new" / "0001_0000.png"))[inside, inside].astype(int)
    assert np.abs(first - wanted).max() <= 1
    assert np.abs(second - wanted).max() <= 1


def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path, site):
    sites = [validation(site)]
    picture = strip(site, "new", SPLITS)
    far = write_photo(tmp_path / "far.tif", picture, 1.0, (ORIGIN[0] + 9000, ORIGIN[1]))
    with pytest.raises(BaselineError, match="shows none of the validation chips"):
        check_baselines([far], sites)
    assert read(far, site) is None
    half = write_photo(tmp_path / "half.tif", picture[:, :300], 1.0, ORIGIN)
    check_baselines([half], sites)
    with pytest.raises(BaselineError, match="lacks part of chip 0002_0000"):
        read(half, site)
    with pytest.raises(PairError, match="no CRS"):
        check_baselines([write_photo(tmp_path / "none.tif", picture, 1.0, ORIGIN, crs=None)], sites)
    with pytest.raises(PairError, match="Byte"):
        check_baselines([write_photo(tmp_path / "deep.tif", picture.astype(np.uint16), 1.0, ORIGIN)], sites)
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(PairError, match="no raster"):
        check_baselines([tmp_path / "text.tif"], sites)


@pytest.mark.parametrize("names", [("a/gan.tif", "b/gan.tif"), ("bicubic.tif",)])
def test_rows_of_one_name_are_refused(names):
    with pytest.raises(BaselineError, match="rename the file"):
        baseline_names([Path(name) for name in names])
