import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from training_data import make_ground as ground

from training.data.manifest import Chip
from training.pairs.change import change_map, change_score
from training.pairs.selection import change_limit, drop_changed


def photo(picture: np.ndarray, seed: int = 1) -> np.ndarray:
    noisy = picture + np.random.default_rng(seed).normal(0, 3, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def with_houses(rgb: np.ndarray, places: list[tuple[int, int]]) -> np.ndarray:
    """Gable roofs of 40 x 30 px, one side darker, turned a little."""
    picture = Image.fromarray(rgb)
    pen = ImageDraw.Draw(picture)
    for x, y in places:
        pen.polygon([(x, y), (x + 40, y + 8), (x + 37, y + 23), (x - 3, y + 15)], fill=(200, 190, 185))
        pen.polygon(
            [(x - 3, y + 15), (x + 37, y + 23), (x + 34, y + 38), (x - 6, y + 30)], fill=(120, 112, 110)
        )
    return np.asarray(picture)


def aged(new: np.ndarray) -> np.ndarray:
    """Soft, hazy, of another colour, and its crops turned from bright to dark."""
    return photo(230 - 0.55 * gaussian_filter(new, (1.2, 1.2, 0)) * (1.0, 0.8, 0.9), 2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_houses_are_found_where_they_stand(seed):
    new = ground(seed)
    before = change_score(aged(new), photo(new))
    built = with_houses(photo(new), [(60, 80), (200, 190)])
    changed = change_map(aged(new), built)
    assert before < 0.01
    assert changed.mean() > before + 0.002
    at_houses, found = np.zeros_like(changed), 0
    for x, y in ((60, 80), (200, 190)):
        at_houses[y - 12 : y + 50, x - 18 : x + 52] = True
        found += bool(changed[y - 12 : y + 50, x - 18 : x + 52].any())
    # Among edges as dense as these one roof may hide.
    assert found >= 1
    assert changed[at_houses].sum() > 0.7 * changed.sum()
    # Houses that are gone count as much as new ones.
    assert change_score(built, aged(new)) == pytest.approx(change_score(aged(new), built), rel=0.2)


def test_another_season_and_moved_shadows_are_not_change():
    new = ground(5)
    leaves = np.random.default_rng(3).normal(0, 1, new.shape[:2])
    season = new + 25 * gaussian_filter(leaves, 2)[..., None] / gaussian_filter(leaves, 2).std() * 0.6
    assert change_score(aged(new), photo(season)) < 0.02
    shaded = photo(new + 60)
    shaded[100:150, 60:110] = shaded[100:150, 60:110] * 0.3
    open_ground = photo(new + 60)
    assert change_score(shaded, open_ground) < 0.004


def test_other_ground_is_changed_through_and_through():
    assert change_score(photo(ground(1)), photo(ground(2))) > 0.08


def chip(change: float, split: str = "train") -> Chip:
    return Chip("0_0", 0, 0, (0, 0, 1, 1), split, 0, 0, 9, change)


def test_the_limit_drops_the_share_or_more_where_more_are_outliers():
    usual = list(np.linspace(0.02, 0.04, 100))
    assert change_limit(usual, 0.15) == pytest.approx(np.quantile(usual, 0.85))
    third_rebuilt = usual[:67] + [0.5] * 33
    assert change_limit(third_rebuilt, 0.05) < 0.1
    assert change_limit(usual, 0) == 1
    chips, limit = drop_changed([chip(0.01)] * 8 + [chip(0.9), chip(0.9, "validation")], 0.1)
    assert [(c.split, c.reason) for c in chips[-2:]] == [("dropped", "changed"), ("validation", "")]
    assert {c.split for c in chips[:8]} == {"train"}
    assert limit < 0.9
