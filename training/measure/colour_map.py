"""One affine map of colours from a picture to another of the same ground, and the error that it leaves."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from sr_model.pixels import LUMA

Picture = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Float32Array = npt.NDArray[np.float32]

_LUMA: Final = np.array(LUMA, np.float32)


def luminance(rgb: Picture) -> Float32Array:
    """Return the luminance of uint8 or float32 [H, W, 3] in grey levels: float32 [H, W] (ITU-R BT.601)."""
    result: Float32Array = rgb.astype(np.float32) @ _LUMA
    return result


def block_colours(rgb: Picture, side_px: int) -> Float32Array:
    """Means over squares: [H, W, 3] to float32 [H // side, W // side, 3]; an incomplete rim is left out."""
    rows, columns = (side // side_px for side in rgb.shape[:2])
    cut = rgb[: rows * side_px, : columns * side_px].astype(np.float32)
    means: Float32Array = cut.reshape(rows, side_px, columns, side_px, 3).mean((1, 3))
    return means


def fit_colour_map(source: Picture, target: Picture) -> Float32Array:
    """The affine map of colours that brings `source` nearest to `target`, by least squares.

    Args:
        source, target: uint8 or float32 [H, W, 3] of the same shape, pixel on pixel.

    Returns:
        float32 [4, 3]: a row for red, green, blue and one that is added.
    """
    colours = source.reshape(-1, 3).astype(np.float64)
    design = np.concatenate([colours, np.ones((len(colours), 1))], axis=1)
    solution = np.linalg.lstsq(design, target.reshape(-1, 3).astype(np.float64), rcond=None)[0]
    return np.asarray(solution, np.float32)


def apply_colour_map(colour_map: Float32Array, rgb: Picture) -> Float32Array:
    """Map the colours of [H, W, 3]: float32 of the same shape, not clipped."""
    mapped: Float32Array = rgb.astype(np.float32) @ colour_map[:3] + colour_map[3]
    return mapped


def matched(picture: Picture, truth: Picture) -> Float32Array:
    """The picture under the affine map that brings it nearest to the truth, clipped to 0-255."""
    return np.clip(apply_colour_map(fit_colour_map(picture, truth), picture), 0, 255)


def matched_psnr(picture: Picture, truth: Picture) -> float:
    """Peak signal-to-noise ratio in dB after one affine map of colours: haze and cast do not count.

    Args:
        picture, truth: uint8 or float32 [H, W, 3] in grey levels, pixel on pixel.

    Returns:
        Infinite for equal pictures.
    """
    error = float(np.square(matched(picture, truth) - truth.astype(np.float32)).mean(dtype=np.float64))
    return 10 * np.log10(255**2 / error) if error > 1e-9 else float("inf")
