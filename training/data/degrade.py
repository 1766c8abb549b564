"""Seeded synthetic ageing: a sharp photograph as the scan of an old one, for ground without an old photo.

The order is that of the light's way: optics, haze and cast, film, the scanner with its dust, compression; and once more
the way of a file that was resampled and compressed again.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

# Share of the pictures with dust on them, and how much there is of it on a megapixel.
_DUSTY: Final = 0.3
_SPECKS_PER_MP: Final = (20, 200)


def age(rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Make a sharp picture old; the result lies exactly on the original's grid.

    Args:
        rgb: uint8 [H, W, 3].
        rng: every draw comes from it, so a seed gives one picture.

    Returns:
        uint8 [H, W, 3].
    """
    picture: Float32Array = rgb.astype(np.float32) / np.float32(255)
    height, width = picture.shape[:2]
    ratio = float(rng.uniform(1.0, 2.5))
    sigma = float(rng.uniform(0.3, 0.55)) * ratio
    small = max(round(width / ratio), 1), max(round(height / ratio), 1)
    # Scanned at its own pixel size, which need not be a whole number of ours, and compressed there.
    scanned = resize(gaussian_filter(picture, (sigma, sigma, 0)), small, Image.Resampling.BILINEAR)
    scanned = _tone(scanned, rng)
    scanned = scanned + grain(scanned.shape[:2], float(rng.uniform(0.0, 0.025)), rng)
    scanned = _dust(scanned, rng)
    stored = compress((np.clip(scanned, 0, 1) * 255 + 0.5).astype(np.uint8), rng, 0.7)
    aged = resize(stored.astype(np.float32), (width, height), Image.Resampling.BICUBIC)
    return compress((np.clip(aged, 0, 255) + 0.5).astype(np.uint8), rng, 0.3)


def resize(picture: Float32Array, size: tuple[int, int], method: Image.Resampling) -> Float32Array:
    """float32 [H, W, 3] to [h, w, 3]; `size` is (w, h)."""
    planes = [Image.fromarray(picture[..., band]).resize(size, method) for band in range(3)]
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=2)


def _tone(picture: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Faded colour, cast, haze (a veil of light) and gamma."""
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * np.float32(rng.uniform(0.6, 1.0))
    picture = np.clip(picture, 1e-4, 1) ** np.float32(rng.uniform(0.85, 1.2))
    veil, cast = rng.uniform(0.0, 0.2), rng.uniform(0.94, 1.06, 3).astype(np.float32)
    hazy: Float32Array = picture * np.float32(1 - veil) * cast + np.float32(veil * rng.uniform(0.4, 0.8))
    return hazy


def grain(shape: tuple[int, int], strength: float, rng: np.random.Generator) -> Float32Array:
    """Film grain of deviation `strength`, float32 [H, W, 1]: common to all bands, a little coarser than a pixel."""
    size = float(rng.uniform(0.4, 1.0))
    common = rng.standard_normal(shape).astype(np.float32)
    speckle = gaussian_filter(common, size)
    speckle /= max(float(speckle.std()), 1e-6)
    return np.float32(strength) * speckle[..., None]


def _dust(picture: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Specks and hairs on the scanner's glass or on the film: soft, and bright on a negative or dark on a print."""
    if rng.random() >= _DUSTY:
        return picture
    height, width = picture.shape[:2]
    layer = Image.new("L", (width, height))
    pen = ImageDraw.Draw(layer)
    for _ in range(rng.poisson(rng.uniform(*_SPECKS_PER_MP) * height * width / 1e6) + 1):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.3, 1.5)
        strength = int(rng.integers(90, 256))
        if rng.random() < 0.8:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=strength)
        else:
            bend = np.array((x, y)) + rng.normal(0, 6, (4, 2)).cumsum(axis=0)
            pen.line([(float(a), float(b)) for a, b in bend], fill=strength, width=1)
    cover = gaussian_filter(np.asarray(layer, np.float32) / np.float32(255), 0.5)[..., None]
    tone = np.float32(rng.choice([0.05, 0.95]))
    covered: Float32Array = picture * (1 - cover) + tone * cover
    return covered


def compress(rgb: UInt8Array, rng: np.random.Generator, chance: float) -> UInt8Array:
    """Store a picture as a JPEG of a drawn quality, with a chance of 0 to 1."""
    if rng.random() >= chance:
        return rgb
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=int(rng.integers(50, 95)))
    return np.asarray(Image.open(buffer).convert("RGB"))
