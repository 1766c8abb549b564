"""Made pictures of ground with known colours, and what time does to them."""

from __future__ import annotations

import numpy as np

UInt8Array = np.ndarray

# Colour, share of relative deviation of its brightness from patch to patch, and from pixel to pixel.
SURFACES = {
    "asphalt": ((92, 92, 92), 0.25, 0.06),
    "concrete": ((165, 165, 164), 0.12, 0.05),
    "white roof": ((224, 224, 223), 0.05, 0.03),
    "red roof": ((170, 84, 62), 0.15, 0.06),
    "bare soil": ((160, 132, 100), 0.12, 0.05),
    "grass": ((104, 126, 76), 0.12, 0.07),
    "woods": ((56, 74, 48), 0.12, 0.28),
    "pines": ((40, 56, 44), 0.1, 0.25),
    "water": ((48, 66, 72), 0.02, 0.03),
    "shadow": ((22, 24, 27), 0.2, 0.1),
    "snow": ((232, 236, 242), 0.03, 0.03),
    "shaded snow": ((170, 182, 204), 0.08, 0.03),
    "pale soil": ((206, 197, 183), 0.08, 0.05),
    "dark soil": ((140, 128, 110), 0.12, 0.05),
    "straw": ((150, 142, 128), 0.22, 0.05),
    "wheat": ((188, 166, 118), 0.1, 0.05),
}
TOWN = {
    "asphalt": 0.2,
    "concrete": 0.14,
    "white roof": 0.05,
    "red roof": 0.08,
    "bare soil": 0.05,
    "grass": 0.2,
    "woods": 0.24,
    "shadow": 0.04,
}
WOODS = {"woods": 0.7, "pines": 0.3}
FIELDS = {"wheat": 0.35, "bare soil": 0.25, "grass": 0.3, "woods": 0.1}
# Soil pales where it is dry and bright; straw has one colour but lies beside roofs, which are bluer.
SOIL = {"pale soil": 0.25, "dark soil": 0.25, "woods": 0.5}
FARM = {"straw": 0.5, "white roof": 0.02, "woods": 0.48}
SNOW = {"snow": 0.75, "shaded snow": 0.25}
WATER = {"water": 1.0}


def place(shares: dict[str, float], *, seed: int = 1, side: int = 512, patch: int = 16) -> UInt8Array:
    """Square patches of surfaces in random order, uint8 [side, side, 3]."""
    rng = np.random.default_rng(seed)
    names, count = list(shares), -(-side // patch)
    chosen = rng.choice(len(names), (count, count), p=list(shares.values()))
    colours, patchy, grain = (np.array([SURFACES[name][part] for name in names]) for part in range(3))
    bright = 1 + patchy[chosen] * rng.standard_normal(chosen.shape)
    grown = (np.repeat(np.repeat(values, patch, 0), patch, 1)[:side, :side] for values in (chosen, bright))
    surface, brightness = grown
    brightness = brightness * (1 + grain[surface] * rng.standard_normal(surface.shape))
    return to_bytes(colours[surface] * brightness[..., None])


def hazy(ground: UInt8Array, share: float, light: tuple[float, float, float] = (205, 208, 212)) -> UInt8Array:
    """Haze in front of it: so much of the light comes from the haze."""
    return to_bytes(ground * (1 - share) + np.array(light) * share)


def faded(ground: UInt8Array, black: float, white: float) -> UInt8Array:
    """A print that has lost its blacks and its whites."""
    return to_bytes(black + ground * ((white - black) / 255))


def tinted(ground: UInt8Array, gains: tuple[float, float, float]) -> UInt8Array:
    """A cast over everything."""
    return to_bytes(ground * np.array(gains))


def to_bytes(values: np.ndarray) -> UInt8Array:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
