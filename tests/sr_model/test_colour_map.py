"""The map of colours: smooth, bounded, the same everywhere."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_places import TOWN, place

from sr_model import InputError
from sr_model.colour_map import ColourMap, luma

STRONG = ColourMap((78, 75, 74), (184,) * 3, 40, 195, 0.85, (0.96, 1.01, 1.05), 1.3)
RAMP = np.arange(256, dtype=np.uint8)
ALL_GREYS = np.stack([RAMP] * 3, axis=1)


@st.composite
def maps(draw: st.DrawFn) -> ColourMap:
    black = draw(st.floats(0, 120))
    white = draw(st.floats(black + 40, 255))
    balance = tuple(draw(st.floats(0.9, 1.12)) for _ in range(3))
    return ColourMap(
        (black,) * 3,
        (white,) * 3,
        draw(st.floats(0, 1)) * black,
        white + draw(st.floats(0, 1)) * (255 - white),
        draw(st.floats(0.75, 1.25)),
        balance,  # type: ignore[arg-type]
        draw(st.floats(0.75, 1.3)),
        draw(st.floats(0, 1)),
    )


@given(maps())
def test_no_curve_falls_and_black_and_white_stay(colours: ColourMap) -> None:
    assert (np.diff(colours.curves.astype(int), axis=1) >= 0).all()
    assert (colours.curves[:, 0] == 0).all()
    assert (colours.curves[:, 255] == 255).all()


def test_no_curve_jumps() -> None:
    """A step larger than the steepest gain would draw contours into smooth ground."""
    steps = np.diff(STRONG.curves.astype(int), axis=1)
    assert steps.max() <= 2
    # No more than rounding: neighbouring steps never differ by more than one level.
    assert np.abs(np.diff(steps, axis=1)).max() <= 1


def test_points_are_mapped_to_points() -> None:
    curve = ColourMap((70,) * 3, (190,) * 3, 35, 205).curves[0]
    assert (int(curve[70]), int(curve[190])) == (35, 205)
    assert 119 <= curve[130] <= 121


def test_neutral_surfaces_under_a_cast_become_grey() -> None:
    balance = (1.06, 0.99, 0.94)
    greys = np.arange(40, 190)[:, None] * np.array(balance)
    mapped = ColourMap(balance=balance).apply(np.floor(greys + 0.5).astype(np.uint8)).astype(int)
    assert np.ptp(mapped, axis=1).max() <= 2


@pytest.mark.parametrize(
    "colours", [ColourMap((78,) * 3, (184,) * 3, 40, 195, 0.85), ColourMap(strength=0.5, contrast=1.3)]
)
def test_grey_stays_grey_to_the_bit(colours: ColourMap) -> None:
    mapped = replace(colours, chroma=1.3).apply(ALL_GREYS)
    assert (mapped == mapped[:, :1]).all()
    assert len(np.unique(mapped)) > 150


def test_more_chroma_clips_no_band() -> None:
    """Saturated roofs keep their hue: what is added falls to nothing where a band would clip."""
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    every = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    for chroma in (1.3, 0.75):
        before, after = every.astype(int), ColourMap(chroma=chroma).apply(every).astype(int)
        unclipped = (before.max(1) < 255) & (before.min(1) > 0)
        # One level of 255 is rounding.
        assert after[unclipped].max() <= 255
        assert ((after == 255) | (after == 0))[unclipped].mean() < 0.002
        assert np.abs(luma(after.astype(np.uint8)).astype(int) - luma(every)).max() <= 1
        assert (np.argmax(after, axis=1) == np.argmax(before, axis=1))[np.ptp(before, axis=1) > 10].all()
    vivid = np.array([[150, 110, 90]], np.uint8)
    assert np.ptp(ColourMap(chroma=1.3).apply(vivid)) > np.ptp(vivid)


def test_strength_is_linear_between_nothing_and_all() -> None:
    ground = place(TOWN, side=128)
    full = STRONG.apply(ground).astype(float)
    assert STRONG.adjusted(strength=0).apply(ground) is ground
    for strength in (0.25, 0.5, 0.75):
        between = STRONG.adjusted(strength=strength).apply(ground)
        wanted = ground + strength * (full - ground)
        assert np.abs(between - wanted).max() <= 0.75


@pytest.mark.parametrize("contrast", [0.5, 0.9, 1.1, 1.2, 1.5, 2.0])
def test_contrast_never_falls_and_cuts_nothing_off(contrast: float) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    levels = ColourMap(contrast=contrast).apply(ramp)[:, 0].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert levels[118] == 118
    assert (levels[130] - levels[106]) / 24 == pytest.approx(contrast, abs=0.1)
    if contrast > 1:
        assert (levels[0], levels[255]) == (0, 255)
        assert levels[1] < levels[40]
        assert levels[215] < levels[254]


def test_contrast_comes_last_and_whatever_the_strength() -> None:
    ground = place(TOWN, side=64)
    colours = replace(STRONG, chroma=1.0)
    mapped = colours.apply(ground).astype(float)
    middling = (mapped > 70) & (mapped < 170)
    wanted = (mapped - 118) * 1.2 + 118
    contrasted = colours.adjusted(contrast=1.2).apply(ground)
    assert np.abs(contrasted - wanted)[middling].max() <= 3
    photo = colours.adjusted(strength=0, contrast=1.2)
    assert np.array_equal(photo.apply(ground), ColourMap(contrast=1.2).apply(ground))
    assert photo.digest == ColourMap(contrast=1.2).digest


def test_windows_agree_wherever_they_are_cut() -> None:
    ground = place(TOWN, side=512)
    whole = STRONG.apply(ground)
    assert np.array_equal(STRONG.apply(ground[100:301, 37:290]), whole[100:301, 37:290])


def test_the_digest_tells_maps_apart_that_map_otherwise() -> None:
    assert ColourMap().digest == ColourMap.identity().digest == STRONG.adjusted(strength=0).digest
    different = [
        ColourMap(),
        STRONG,
        STRONG.adjusted(strength=0.5),
        STRONG.adjusted(contrast=1.1),
        replace(STRONG, gamma=0.86),
    ]
    assert len({one.digest for one in different}) == len(different)
    assert ColourMap(gamma=1).digest == ColourMap(gamma=1.0).digest
    assert json.loads(STRONG.canonical_json)["black_in"] == [78, 75, 74]


def test_the_identity_gives_the_very_picture() -> None:
    ground = place(TOWN, side=64)
    assert ColourMap.identity().is_identity
    assert not STRONG.is_identity
    assert ColourMap.identity().apply(ground) is ground


def test_people_can_read_it() -> None:
    assert ColourMap().describe() == "unchanged"
    text = STRONG.adjusted(strength=0.5, contrast=1.1).describe()
    assert text == (
        "black 76 -> 40, white 184 -> 195, gamma 0.85, white balance R +4 %, G -1 %, B -5 %, chroma x1.30, "
        "strength 0.5, contrast x1.1"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 1.1},
        {"contrast": 3.0},
        {"gamma": 0.0},
        {"balance": (0.5, 1.0, 1.0)},
        {"chroma": -0.1},
        {"black_in": (200.0, 20.0, 20.0), "white_in": (190.0, 190.0, 190.0)},
        {"black_out": 30.0},
    ],
)
def test_maps_that_would_not_rise_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        replace(ColourMap(), **wrong)  # type: ignore[arg-type]


def test_pictures_of_another_kind_are_refused() -> None:
    for wrong in (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)):
        with pytest.raises(InputError, match="uint8"):
            STRONG.apply(wrong)
