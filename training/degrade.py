"""Seeded synthetic ageing: what a scan of an old photograph does to a sharp one, for ground with no old photo.

The order is that of the light's way: optics, film, haze and cast, scanner, compression.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


def age(rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Make a sharp picture old; the result lies exactly on the original's grid.

    Args:
        rgb: uint8 [H, W, 3].
        rng: every draw comes from it, so a seed gives one picture.

    Returns:
        uint8 [H, W, 3].
    """
    picture: Float32Array = rgb.astype(np.float32) / np.float32(255)
    picture = _soften(picture, rng)
    picture = _grain(_tone(picture, rng), rng)
    aged = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _compress(aged, rng)


def _soften(picture: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Blur, then down and up again by a ratio of up to 2.5, which need not be a whole number."""
    height, width = picture.shape[:2]
    ratio = float(rng.uniform(1.0, 2.5))
    sigma = float(rng.uniform(0.3, 0.55)) * ratio
    blurred = gaussian_filter(picture, (sigma, sigma, 0))
    small = max(round(width / ratio), 1), max(round(height / ratio), 1)
    planes = [
        Image.fromarray(blurred[..., band])
        .resize(small, Image.Resampling.BILINEAR)
        .resize((width, height), Image.Resampling.BICUBIC)
        for band in range(3)
    ]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=2)


def _tone(picture: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Faded colour, cast, haze (a veil of light) and gamma."""
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * np.float32(rng.uniform(0.6, 1.0))
    picture = np.clip(picture, 1e-4, 1) ** np.float32(rng.uniform(0.85, 1.2))
    veil, cast = rng.uniform(0.0, 0.2), rng.uniform(0.94, 1.06, 3).astype(np.float32)
    hazy: Float32Array = picture * np.float32(1 - veil) * cast + np.float32(veil * rng.uniform(0.4, 0.8))
    return hazy


def _grain(picture: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Film grain: mostly common to all bands, a little coarser than a pixel."""
    strength = float(rng.uniform(0.0, 0.025))
    size = float(rng.uniform(0.4, 1.0))
    common = rng.standard_normal(picture.shape[:2]).astype(np.float32)
    grain = gaussian_filter(common, size)
    grain /= max(float(grain.std()), 1e-6)
    return picture + np.float32(strength) * grain[..., None]


def _compress(rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    if rng.random() < 0.3:
        return rgb
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=int(rng.integers(50, 95)))
    return np.asarray(Image.open(buffer).convert("RGB"))
