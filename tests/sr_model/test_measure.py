import numpy as np
import pytest
from made_roofs import photographed, roofs
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from sr_model.errors import InputError
from sr_model.measure import (
    edge_profiles,
    edge_shapes,
    estimate_blur_and_halo,
    find_edges,
    grain_of,
    profile_positions,
    visible_edge,
)

MASKS = [(0.0, 1.0), (0.5, 1.2), (1.0, 0.7), (1.0, 1.2), (1.5, 1.7), (2.0, 1.0)]
FURTHER = [(0.4, False), (0.5, False), (0.8, True), (1.0, False), (1.4, True), (2.0, False)]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in FURTHER]


def slanted(
    angle: float, blur: float = 1.0, low: float = 60, high: float = 160, side: int = 80
) -> np.ndarray:
    """One edge through the middle, its normal at `angle`, exactly."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return (low + (high - low) * ndtr((x * np.cos(angle) + y * np.sin(angle)) / blur)).astype(np.float32)


def estimate(
    blur: float, amount: float, radius: float, seed: int = 1, whites: bool = False, grain: float = 1.5
):
    """Of two windows, as of a photograph."""
    windows = [
        photographed(roofs(n, blur, whites=whites), amount=amount, radius_px=radius, seed=n, grain=grain)
        for n in (seed, seed + 1)
    ]
    return estimate_blur_and_halo(windows)


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0, -1.2, 3.0])
def test_an_edge_is_found_with_its_normal(angle):
    edges = find_edges(slanted(angle))
    assert len(edges) > 5
    middle = (80 - 1) / 2
    across = (edges.x - middle) * np.cos(angle) + (edges.y - middle) * np.sin(angle)
    assert np.abs(across).max() < 1
    assert edges.nx == pytest.approx(np.full(len(edges), np.cos(angle)), abs=0.01)
    assert edges.ny == pytest.approx(np.full(len(edges), np.sin(angle)), abs=0.01)


def test_places_keep_apart_and_the_strongest_come_first():
    edges = find_edges(photographed(roofs(1, 0.6)), most=40)
    apart = np.maximum(abs(edges.y[:, None] - edges.y), abs(edges.x[:, None] - edges.x))
    assert len(edges) == 40
    assert apart[~np.eye(40, dtype=bool)].min() > 3
    assert (np.diff(edges.strength) <= 0).all()


def test_curves_and_flat_ground_have_no_edges():
    y, x = np.mgrid[:90, :90] - 44.5
    discs = np.where((y % 15 - 7) ** 2 + (x % 15 - 7) ** 2 < 20, 180, 60)
    assert len(find_edges(gaussian_filter(discs.astype(np.float32), 0.8), least_strength=4)) == 0
    assert len(find_edges(np.full((60, 60), 90, np.float32))) == 0


def test_no_edge_is_found_beside_pixels_without_data():
    picture = slanted(0.0)
    picture[:, 44:] = np.nan
    assert len(find_edges(picture)) == 0
    assert len(find_edges(picture, margin_px=3)) > 0


@pytest.mark.parametrize("blur", [0.7, 1.0, 1.5, 2.0])
def test_rise_is_that_of_a_blurred_step(blur):
    picture = slanted(0.4, blur)
    shapes = edge_shapes(edge_profiles(picture, find_edges(picture)))
    # Reading between the pixels blurs a little.
    assert np.median(shapes.rise_px) == pytest.approx(2.563 * np.hypot(blur, 0.4), abs=0.3)
    assert np.nanmax(shapes.overshoot) < 0.03


@pytest.mark.parametrize("amount", [0.3, 1.0, 2.0])
def test_overshoot_is_that_of_the_mask(amount):
    # 256 levels of contrast would clip; this has room on either side.
    blurred = slanted(0.4, 1.0, low=90, high=150).astype(np.float64)
    sharp = (blurred + amount * (blurred - gaussian_filter(blurred, 1.5))).astype(np.float32)
    shapes = edge_shapes(edge_profiles(sharp, find_edges(sharp)))
    expected = visible_edge(1.0, amount, 1.5)[1]
    assert np.nanmedian(shapes.overshoot) == pytest.approx(expected, abs=0.02 + 0.1 * expected)
    assert np.nanmedian(shapes.undershoot) == pytest.approx(expected, abs=0.02 + 0.1 * expected)


def test_places_that_are_not_on_an_edge_have_no_shape():
    picture = slanted(0.4, low=100, high=110)
    edges = find_edges(picture)
    assert len(edges)
    assert not edge_shapes(edge_profiles(picture, edges)).measured.any()
    assert len(profile_positions()) == edge_profiles(picture, edges).shape[1]


@pytest.mark.parametrize(("blur", "whites"), [(0.6, False), (1.0, True), (2.0, True), *SLOW])
def test_blur_and_mask_of_made_photographs_are_found(blur, whites):
    for amount, radius in MASKS:
        found = estimate(blur, amount, radius, whites=whites)
        what = f"blur {blur}, mask {amount}, {radius}: {found}"
        assert found.source == "edges", what
        assert found.edges >= 100, what
        assert found.blur_px == pytest.approx(blur, rel=0.15), what
        # A mask that is narrower than the blur leaves no ring: then the edge alone is known. Beside the sharpest
        # edges, which a pixel grid cannot hold, a narrow mask comes out too strong.
        if radius >= max(1.15 * blur, 0.7 if blur > 0.55 else 1.0):
            assert found.halo_amount == pytest.approx(amount, abs=0.25), what
            if amount:
                assert found.halo_radius_px == pytest.approx(radius, abs=0.3), what
        rise, overshoot = visible_edge(blur, amount, radius)
        assert found.rise_px == pytest.approx(rise, rel=0.12), what
        assert found.overshoot == pytest.approx(overshoot, abs=0.03), what


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 21, 31, 41])
@pytest.mark.parametrize("grain", [0.5, 3.0])
def test_the_estimate_holds_over_pictures_and_grain(seed, grain):
    for blur in (0.5, 0.7, 0.9):
        for amount, radius in ((0.0, 1.0), (1.0, 1.2), (2.0, 1.7)):
            found = estimate(blur, amount, radius, seed, grain=grain)
            assert found.blur_px == pytest.approx(blur, rel=0.15), found
            assert found.halo_amount == pytest.approx(amount, abs=0.3), found
            if amount:
                assert found.halo_radius_px == pytest.approx(radius, abs=0.3), found


@pytest.mark.parametrize("stretch", [1.3, 1.6])
@pytest.mark.parametrize(("amount", "radius"), [(0.0, 1.0), (1.0, 1.4), (2.0, 1.2)])
def test_burnt_whites_do_not_hide_the_mask(amount, radius, stretch):
    """A sixth of the picture is white: there the step and the bright ring are lost, and the dark ring is left."""
    windows = [
        photographed(
            90 + stretch * (roofs(seed, 0.7, whites=True) - 90), amount=amount, radius_px=radius, seed=seed
        )
        for seed in (1, 2)
    ]
    assert np.mean([(window == 255).mean() for window in windows]) > 0.15
    found = estimate_blur_and_halo(windows)
    assert found.blur_px == pytest.approx(0.7, rel=0.1)
    assert found.halo_amount == pytest.approx(amount, abs=0.25)
    if amount:
        assert found.halo_radius_px == pytest.approx(radius, abs=0.3)


def test_edges_of_burnt_roofs_alone_still_tell_the_mask():
    """Every plateau on the bright side is white."""
    windows = [
        photographed(
            np.where((g := roofs(seed, 0.7)) > 110, 110 + 6 * (g - 110), g), amount=1.0, radius_px=1.4
        )
        for seed in (1, 2)
    ]
    found = estimate_blur_and_halo(windows)
    assert found.halo_amount == pytest.approx(1.0, abs=0.5)


def test_the_same_windows_give_the_same_numbers():
    windows = [photographed(roofs(1, 0.6), amount=0.5)]
    assert estimate_blur_and_halo(windows) == estimate_blur_and_halo([w.copy() for w in windows])


def test_ground_without_data_changes_nothing():
    picture = photographed(roofs(1, 0.6), amount=1.0, radius_px=1.2)
    wide = np.full((288, 480), np.nan, np.float32)
    wide[:, :288] = picture
    alone, beside = estimate_blur_and_halo([picture]), estimate_blur_and_halo([wide])
    assert beside.blur_px == pytest.approx(alone.blur_px, abs=0.03)
    assert beside.halo_amount == pytest.approx(alone.halo_amount, abs=0.1)
    assert estimate_blur_and_halo([wide[:, 300:]]).source == "none"


@pytest.mark.parametrize("blur", [0.8, 1.2, 2.0])
def test_where_there_are_no_edges_the_spectrum_tells_the_blur(blur):
    random = np.random.default_rng(3)
    side = 512
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    amplitude = (
        1 / np.maximum(np.hypot(fy, fx), 1 / side) * np.exp(-2 * (np.pi * blur * np.hypot(fy, fx)) ** 2)
    )
    woods = np.fft.irfft2(np.fft.rfft2(random.normal(size=(side, side))) * amplitude)
    woods = (110 + 4 * woods / woods.std() + random.normal(0, 0.3, woods.shape)).astype(np.float32)
    found = estimate_blur_and_halo([woods])
    assert found.source == "spectrum"
    assert found.edges == 0
    assert found.halo_amount == 0
    assert found.blur_px == pytest.approx(blur, rel=0.25)


def test_a_photograph_that_tells_nothing_is_taken_for_a_sharp_one():
    for empty in ([], [np.full((300, 300), 90, np.float32)], [np.zeros((5, 5), np.float32)]):
        found = estimate_blur_and_halo(empty)
        assert (found.source, found.resolution_px, found.halo_amount) == ("none", 1.0, 0.0)


def test_resolution_is_that_of_the_blur_and_never_finer_than_the_pixels():
    sharp, soft, softer = (estimate(blur, 0.0, 1.0).resolution_px for blur in (0.6, 1.0, 2.0))
    assert sharp == 1.0
    assert soft == pytest.approx(1.46, abs=0.15)
    assert softer == pytest.approx(2.93, abs=0.3)
    sharpened = estimate(1.0, 1.5, 1.7).resolution_px
    assert sharpened == pytest.approx(soft, rel=0.1)


@pytest.mark.parametrize("deviation", [0.8, 2.5, 6.0])
def test_grain_is_measured_on_smooth_ground(deviation):
    grainy = photographed(roofs(1, 0.6), grain=deviation)
    found, blocks = grain_of([grainy])
    assert blocks >= 20
    # White grain is a little less without what is coarser than 1.5 px; whole grey levels add 0.29.
    assert found == pytest.approx(0.92 * np.hypot(deviation, 0.29), rel=0.12)


def test_grain_of_texture_alone_is_unknown():
    woods = 110 + 40 * gaussian_filter(np.random.default_rng(0).normal(size=(200, 200)), 1.0)
    rough = (woods + 60 * np.sin(np.arange(200) / 3)).astype(np.float32)
    assert grain_of([rough]) == (0.0, 0)


def test_pictures_of_another_kind_are_refused():
    for wrong in (np.zeros((20, 20), np.uint8), np.zeros((20, 20, 3), np.float32)):
        for measure in (find_edges, lambda v: grain_of([v]), lambda v: estimate_blur_and_halo([v])):
            with pytest.raises(InputError, match="float32"):
                measure(wrong)
