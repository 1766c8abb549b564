"""Contrast and the old photograph's colours: no seams, and the network's detail is kept."""

from __future__ import annotations

import numpy as np
import pytest

from tileserver.render.finish import BLOCK_PX, Finish


def pair(side: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """Return an old image, and the same image redder, darker and with more detail."""
    random = np.random.default_rng(0)
    x = np.arange(side)
    slow = 110 + 40 * np.sin(x[:, None] / 60) + 30 * np.cos(x[None, :] / 45)
    old = np.repeat(slow[..., None], 3, axis=2)
    detail = random.normal(0, 8, (side, side, 1))
    restored = 0.8 * old + np.array([30, 0, -10]) + detail
    return tuple(np.clip(picture, 0, 255).astype(np.uint8) for picture in (old, restored))  # type: ignore[return-value]


def test_default_changes_nothing() -> None:
    old, restored = pair()
    assert Finish().apply(old, restored) is restored


def test_old_tone_restores_colours_and_keeps_detail() -> None:
    old, restored = pair()
    finished = Finish(tone="old").apply(old, restored).astype(float)
    middle = slice(64, -64)
    assert (
        np.abs(finished[middle, middle].mean(axis=(0, 1)) - old[middle, middle].mean(axis=(0, 1))).max() < 1
    )
    assert (
        np.abs(restored[middle, middle].mean(axis=(0, 1)) - old[middle, middle].mean(axis=(0, 1))).max() > 10
    )

    def detail(picture: np.ndarray) -> float:
        return float(np.diff(picture[middle, middle].astype(float), axis=1).std())

    assert detail(finished) == pytest.approx(detail(restored), rel=0.03)


def test_two_windows_agree_where_both_have_enough_context() -> None:
    old, restored = pair()
    finish = Finish(contrast=1.3, tone="old")
    whole = finish.apply(old, restored).astype(int)
    at = 5 * BLOCK_PX
    part = finish.apply(old[at:, at:], restored[at:, at:]).astype(int)
    reach = finish.reach_px
    # By rounding alone.
    assert np.abs(whole[at + reach :, at + reach :] - part[reach:, reach:]).max() <= 1


def test_contrast_spreads_greys_around_the_middle() -> None:
    old = np.zeros((8, 8, 3), np.uint8)
    grey = np.full((8, 8, 3), 128, np.uint8)
    dark, light = grey - np.uint8(28), grey + np.uint8(100)
    finish = Finish(contrast=1.5)
    assert [int(finish.apply(old, one)[0, 0, 0]) for one in (dark, grey, light)] == [86, 128, 255]
