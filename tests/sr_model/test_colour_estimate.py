"""What is found in made pictures with a known haze, fade or cast, and in pictures that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from made_places import FARM, FIELDS, SNOW, SOIL, TOWN, WATER, WOODS, faded, hazy, place, tinted, to_bytes

from sr_model import InputError
from sr_model.colour_balance import find_neutrals
from sr_model.colour_estimate import estimate_colour_map
from sr_model.colour_map import ColourMap
from sr_model.colour_statistics import PhotoStatistics, histogram, photo_statistics, quantile

# Sharp modern orthophotos, in copies of about 1024 px a side (area averages), measured by `photo_statistics`.
REFERENCES = {
    "New York State 2017, hills, 0.30 m (NYS ITS Geospatial Services)": PhotoStatistics(57, 199, 136, 26),
    "Ohio 2011, farms and woods, 0.30 m (OSIP)": PhotoStatistics(28, 163, 95, 26),
    "Cologne 2025, city, 0.28 m (Geobasis NRW)": PhotoStatistics(34, 241, 147, 15),
    "Moelndal 2024, town and woods, 0.52 m (Lantmaeteriet)": PhotoStatistics(23, 205, 77, 13),
    "Geneva 2015, houses and industry, 0.25 m (swisstopo)": PhotoStatistics(27, 234, 120, 27),
    "California 2020, 480 places, 0.6 m (USDA NAIP)": PhotoStatistics(36, 207, 113, 15),
    "Kampala, dense town, 0.10 m (OpenAerialMap)": PhotoStatistics(11, 250, 136, 62),
}
PLACES = {
    "town": TOWN,
    "woods": WOODS,
    "fields": FIELDS,
    "soil": SOIL,
    "farm": FARM,
    "snow": SNOW,
    "water": WATER,
}
CASTS = {
    "yellow": (1.06, 1.0, 0.88),
    "blue": (0.92, 1.0, 1.1),
    "magenta": (1.06, 0.96, 1.06),
    "green": (0.93, 1.03, 0.93),
}


def error(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", PLACES)
def test_a_clear_photograph_keeps_its_colours_exactly(name: str, seed: int) -> None:
    """None of woods, fields, snow and water has anything neutral, black or white that would have to be there."""
    assert estimate_colour_map(place(PLACES[name], seed=seed)) == ColourMap.identity()


@pytest.mark.parametrize("share", [0.3, 0.45])
@pytest.mark.parametrize("name", ["town", "fields"])
def test_haze_is_taken_out(name: str, share: float) -> None:
    ground = place(PLACES[name])
    seen = hazy(ground, share)
    clear = estimate_colour_map(seen).apply(seen)
    # At least half of the error is gone: whites are known less well than blacks.
    assert error(clear, ground) < 0.5 * error(seen, ground)


def test_a_faded_print_gets_blacks_whites_and_chroma_back() -> None:
    ground = place(TOWN)
    seen = faded(ground, 80, 170)
    mapped = estimate_colour_map(seen).apply(seen)
    before, after, wanted = (photo_statistics(one.reshape(-1, 3)) for one in (seen, mapped, ground))
    assert error(mapped, ground) < 0.65 * error(seen, ground)
    assert before.black > 80 > 60 > after.black
    assert after.white > before.white + 15
    assert before.chroma < 0.6 * wanted.chroma < after.chroma < wanted.chroma
    assert abs(after.median - before.median) < 12


@pytest.mark.parametrize("cast", CASTS)
def test_a_cast_over_neutral_surfaces_is_found(cast: str) -> None:
    ground = place(TOWN)
    seen = tinted(ground, CASTS[cast])
    mapped = estimate_colour_map(seen).apply(seen)
    assert error(mapped, ground) < 0.6 * error(seen, ground)
    roads = np.ptp(ground.astype(int), axis=2) < 6
    left = mapped[roads].mean(axis=0) - ground[roads].mean(axis=0)
    assert np.abs(left).max() < 6


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("name", ["woods", "fields", "snow", "water"])
def test_without_neutral_surfaces_no_cast_is_made_up(name: str, cast: str) -> None:
    seen = tinted(place(PLACES[name]), CASTS[cast])
    assert estimate_colour_map(seen).balance == (1, 1, 1)


@pytest.mark.parametrize("name", ["soil", "farm"])
def test_pale_fields_are_not_taken_for_concrete(name: str) -> None:
    found = find_neutrals(place(PLACES[name]).reshape(-1, 3))
    assert found.certainty < 0.1


@pytest.mark.parametrize("share", [0.3, 0.45])
def test_hazy_water_or_snow_is_not_stretched(share: float) -> None:
    """One surface alone does not tell how dark its darkest place should be."""
    for shares in (WATER, SNOW):
        assert estimate_colour_map(hazy(place(shares), share)).is_identity


def test_hazy_woods_do_not_turn_dark() -> None:
    seen = hazy(place(WOODS), 0.35)
    mapped = estimate_colour_map(seen).apply(seen)
    assert photo_statistics(mapped.reshape(-1, 3)).median > photo_statistics(seen.reshape(-1, 3)).median - 6


def test_haze_and_cast_together() -> None:
    ground = place(TOWN)
    seen = hazy(tinted(ground, CASTS["blue"]), 0.4, (200, 208, 216))
    assert error(estimate_colour_map(seen).apply(seen), ground) < 0.5 * error(seen, ground)


def test_a_collar_that_the_mask_hides_says_nothing() -> None:
    seen = hazy(place(TOWN), 0.4)
    half = np.concatenate([seen, np.zeros_like(seen)], axis=1)
    mask = np.zeros(half.shape[:2], np.uint8)
    mask[:, : seen.shape[1]] = 255
    assert estimate_colour_map(half, mask) == estimate_colour_map(seen)
    assert estimate_colour_map(half, mask != 0) == estimate_colour_map(seen.reshape(-1, 3))


@pytest.mark.parametrize("grey", [True, False])
def test_black_and_white_stays_black_and_white(grey: bool) -> None:
    seen = faded(place(TOWN), 85, 170)
    seen[...] = seen.mean(axis=2, keepdims=True).astype(np.uint8)
    colours = estimate_colour_map(seen, grey=grey)
    mapped = colours.apply(seen)
    assert colours.balance == (1, 1, 1)
    assert colours.chroma == 1
    assert (mapped == mapped[..., :1]).all()
    assert mapped.std() > 1.2 * seen.std()


def test_a_sepia_print_is_not_made_more_vivid() -> None:
    grey = place(TOWN).mean(axis=2, keepdims=True)
    sepia = to_bytes(grey * np.array([1.04, 1.0, 0.94]))
    assert estimate_colour_map(sepia).is_identity


def test_a_pinch_of_red_roofs_changes_nothing() -> None:
    without = {name: share for name, share in TOWN.items() if name != "red roof"}
    for pinch in (0.0, 0.01):
        shares = {**without, "woods": TOWN["woods"] + TOWN["red roof"] - pinch, "red roof": pinch}
        ground = place(shares, patch=8)
        assert estimate_colour_map(ground).is_identity
        found = estimate_colour_map(hazy(ground, 0.4))
        assert np.abs(np.array(found.balance) - 1).max() < 0.02


def test_the_same_photograph_at_another_resolution_gives_nearly_the_same_map() -> None:
    fine = hazy(tinted(place(TOWN, side=1024, patch=32), CASTS["blue"]), 0.35)
    coarse = to_bytes(fine.reshape(512, 2, 512, 2, 3).mean(axis=(1, 3)))
    maps = [estimate_colour_map(one) for one in (fine, coarse)]
    curves = [one.curves.astype(int) for one in maps]
    assert not maps[0].is_identity
    assert np.abs(curves[0] - curves[1]).max() <= 6
    assert abs(maps[0].chroma - maps[1].chroma) < 0.05


def test_more_haze_is_corrected_more_without_a_jump() -> None:
    """A photograph at the border of what needs nothing must not flip between two looks."""
    ground = place(TOWN)
    shares = np.arange(0.15, 0.45, 0.01)
    curves = np.stack([estimate_colour_map(hazy(ground, share)).curves[1] for share in shares]).astype(int)
    assert (curves[0] == np.arange(256)).all()
    assert np.abs(np.diff(curves, axis=0)).max() <= 10


def test_the_estimate_does_not_depend_on_the_order_of_samples() -> None:
    seen = hazy(place(TOWN), 0.4).reshape(-1, 3)
    shuffled = np.random.default_rng(0).permutation(seen)
    assert estimate_colour_map(seen).digest == estimate_colour_map(shuffled).digest


def test_every_correction_is_bounded() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        low, high = np.sort(rng.integers(0, 256, 2))
        mean, spread = rng.uniform(low, high, (1, 3)), rng.uniform(1, 60)
        wild = to_bytes(np.clip(rng.normal(mean, spread, (2000, 3)), low, high))
        found = estimate_colour_map(wild)
        gain = (found.white_out - found.black_out) / (found.white_in[0] - max(found.black_in))
        assert gain < 2.2
        assert 0.75 <= found.gamma <= 1.25
        assert 0.75 <= found.chroma <= 1.3
        assert all(abs(part - 1) < 0.11 for part in found.balance)


def test_nothing_to_see_needs_nothing() -> None:
    ground = place(TOWN, side=64)
    assert estimate_colour_map(ground, np.zeros((64, 64), np.uint8)).is_identity
    assert estimate_colour_map(np.full((64, 64, 3), 90, np.uint8)).is_identity


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="mask"):
        estimate_colour_map(np.zeros((4, 4, 3), np.uint8), np.ones((4, 5), np.uint8))
    with pytest.raises(InputError, match="uint8"):
        estimate_colour_map(np.zeros((4, 4, 3), np.float32))


def test_quantiles_lie_between_levels() -> None:
    counts = histogram(np.array([10] * 50 + [20] * 50, np.uint8))
    assert quantile(counts, 250) == 10
    assert quantile(counts, 5) < 10 < quantile(counts, 495) < 11
    assert quantile(counts, 995) > 20


def test_neutral_surfaces_are_found_where_they_are() -> None:
    found = find_neutrals(tinted(place(TOWN), CASTS["blue"]).reshape(-1, 3))
    assert found.certainty > 0.9
    wanted = np.array(CASTS["blue"]) / (np.array(CASTS["blue"]) @ (0.299, 0.587, 0.114))
    assert abs(found.red - 100 * (wanted[0] - 1)) < 1.5
    assert abs(found.blue - 100 * (wanted[2] - 1)) < 1.5


def test_modern_photographs_lie_within_the_limits() -> None:
    """The limits were chosen outside the range of the references: none of them is hazy, faded or pale."""
    for name, found in REFERENCES.items():
        assert found.black < 59, name
        assert found.white > 150, name
        assert found.chroma > 10, name
