import numpy as np
import pytest
from click.testing import CliRunner

from training.cli.main import main
from training.data.dataset import Pair
from training.data.season import keep_season


def test_colours_stay_the_old_photos_and_detail_the_new_ones():
    rng = np.random.default_rng(0)
    detail = rng.integers(-12, 13, (128, 128, 1))  # of leaves
    old = np.full((128, 128, 3), (130, 110, 90)) + 20 * (np.arange(128)[:, None, None] > 64)
    new = np.full((128, 128, 3), (60, 120, 50)) + 2 * detail
    (kept,) = keep_season([Pair("a", old.astype(np.uint8), new.astype(np.uint8))])
    made = kept.new.astype(float)
    assert made[..., 0].mean() > made[..., 1].mean() > made[..., 2].mean()
    assert made.mean() == pytest.approx(new.mean(), abs=20)
    fine = np.corrcoef((made[20:40, 20:40, 1]).ravel(), detail[20:40, 20:40, 0].ravel())[0, 1]
    assert fine > 0.95
    assert (kept.old == old).all()
    assert keep_season([]) == []


def test_a_season_of_no_pair_is_refused(tmp_path):
    result = CliRunner().invoke(main, ["fit", "--out", str(tmp_path / "x"), "--keep-season", str(tmp_path)])
    assert result.exit_code == 2
    assert "none of PAIRS" in result.output
