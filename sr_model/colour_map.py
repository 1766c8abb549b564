"""One smooth map of colours for a whole photograph: haze, fading and a cast taken out, the same at every pixel.

Haze, fading and a cast belong to a photograph, not to a pixel. They are found once per photograph
(`sr_model.colour_estimate`) and undone by one curve per band and one factor for chroma, so that neighbouring tiles and
neighbouring zooms never differ in tone.

Settings of serve, seed and restore:

* `--colours corrected|photo` (`ORTHOSHARP_COLOURS`): `corrected` applies the map, `photo` leaves the photograph's own
  colours, which is the map of strength 0.
* `--colour-strength 0..1` (`ORTHOSHARP_COLOUR_STRENGTH`): how much of the map is applied; 0 changes nothing.
* `--contrast 0.5..2`: a factor around middle grey, joined to the map and applied after it at its full strength,
  whatever `colours` says; by default a little more contrast where colours are corrected.
* `--tone` is what `--colours` was called: `model` means `corrected`, `old` means `photo`, each with a warning.

`ColourMap.adjusted` makes one map of all of these. It is applied to restored pixels and to overview pixels alike, so
that no zoom differs from the next, and never to the layer that shows the old photograph. `ColourMap.digest` belongs
into every cache key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from sr_model.errors import InputError

UInt8Array = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]
Triple = tuple[float, float, float]

# Raise it when the same parameters give other pixels.
MAP_VERSION: Final = 2

# Luma of ITU-R BT.601 in 256ths; the sum of 256 bytes stays below 2^16.
LUMA_256: Final = (77, 150, 29)
# Grey that contrast leaves alone: the median of modern photographs.
_MIDDLE: Final = 118.0
# Power in which more contrast fades out toward black and white, or less where it would not rise everywhere.
_FADES: Final = 4.0
# From here up a corrected cast fades out, so that burnt white stays white in all bands.
_SHOULDER: Final = 200.0
# Chroma gain and strength are applied in 128ths: 255 times the largest fits into sixteen bits.
_ONE: Final = 128
# The curve of a balance outside of this would not rise everywhere.
_BALANCE_LIMITS: Final = (0.9, 1.12)
# Pixels that are mapped at a time stay in a core's cache.
_STRIP_PX: Final = 1 << 16


@dataclass(frozen=True)
class ColourMap:
    """A map of colours, uint8 to uint8. The default changes nothing.

    The curve of a band maps its black and white points to those of the result, straight between them and smoothly
    on towards 0 and 255; divides by the band's balance; and raises to gamma. Then chroma is multiplied.

    Attributes:
        black_in: per band (red, green, blue), the grey level that becomes `black_out`.
        white_in: per band, the grey level that becomes `white_out`.
        black_out, white_out: black and white points of the result, grey levels.
        gamma: exponent of levels in [0, 1]; below 1 brightens.
        balance: colour of neutral surfaces relative to their luma, per band; the curves divide by it.
        chroma: factor for the difference of each band from luma, less where a band would clip.
        strength: share of all of these that is applied, from 0 (nothing) to 1.
        contrast: factor around middle grey, less towards black and white; applied last and not subject to `strength`.

    Raises:
        InputError: parameters with which a curve would not rise, or that are out of range.
    """

    black_in: Triple = (0.0, 0.0, 0.0)
    white_in: Triple = (255.0, 255.0, 255.0)
    black_out: float = 0.0
    white_out: float = 255.0
    gamma: float = 1.0
    balance: Triple = (1.0, 1.0, 1.0)
    chroma: float = 1.0
    strength: float = 1.0
    contrast: float = 1.0

    def __post_init__(self) -> None:
        points = zip(self.black_in, self.white_in, strict=True)
        if not all(self.black_out <= black < white <= self.white_out for black, white in points):
            raise InputError(
                "black points must lie below white points, and be mapped no higher, whites no lower: got "
                f"{self.black_in} to {self.black_out}, {self.white_in} to {self.white_out}"
            )
        low, high = _BALANCE_LIMITS
        limits = {
            "black_out": (self.black_out >= 0, "0 or more"),
            "white_out": (self.white_out <= 255, "255 or less"),
            "gamma": (0.5 <= self.gamma <= 2, "0.5 to 2"),
            "balance": (all(low <= value <= high for value in self.balance), f"{low} to {high}"),
            "chroma": (0 <= self.chroma <= 1.5, "0 to 1.5"),
            "strength": (0 <= self.strength <= 1, "0 to 1"),
            "contrast": (0.5 <= self.contrast <= 2, "0.5 to 2"),
        }
        for name, (fits, wanted) in limits.items():
            if not fits:
                raise InputError(f"{name} of a colour map must be {wanted}, got {getattr(self, name)}")

    @classmethod
    def identity(cls) -> ColourMap:
        """The map that changes nothing."""
        return cls()

    def adjusted(self, *, strength: float = 1.0, contrast: float = 1.0) -> ColourMap:
        """The same map at another strength, 0 to 1, followed by a contrast, 0.5 to 2."""
        return replace(self, strength=float(strength), contrast=float(contrast))

    @property
    def is_identity(self) -> bool:
        """Whether no pixel is changed."""
        return self._effective == ColourMap()

    @property
    def _effective(self) -> ColourMap:
        """The same map, without parameters that have no effect."""
        unchanged = self.strength == 0 or self.adjusted() == ColourMap()
        return ColourMap(contrast=self.contrast) if unchanged else self

    @property
    def canonical_json(self) -> str:
        """Return the parameters of the map as JSON with sorted keys: equal texts mean equal pixels."""
        parameters = {
            name: [float(part) for part in value] if isinstance(value, tuple) else float(value)
            for name, value in asdict(self._effective).items()
        }
        return json.dumps({"version": MAP_VERSION, **parameters}, sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `canonical_json`, for cache keys."""
        return hashlib.sha256(self.canonical_json.encode()).hexdigest()

    def describe(self) -> str:
        """One line for people, such as `black 76 -> 44, white 183 -> 190, gamma 0.87, chroma x1.10`."""
        return ", ".join(_parts(self._effective)) or "unchanged"

    @cached_property
    def curves(self) -> UInt8Array:
        """The curves of the bands at full strength and without contrast, uint8 [3, 256], none of which falls."""
        grey = np.arange(256, dtype=np.float64)
        curves = np.stack([_to_bytes(self._corrected(grey, band)) for band in range(3)])
        curves.flags.writeable = False
        return curves

    def apply(self, rgb: UInt8Array) -> UInt8Array:
        """Map a picture. Integer arithmetic: the same on every machine.

        Args:
            rgb: uint8 [height, width, 3], or any shape that ends with 3.

        Returns:
            uint8 of the same shape; `rgb` itself where the map is the identity.

        Raises:
            InputError: another dtype or shape.
        """
        if rgb.dtype != np.uint8 or rgb.ndim < 1 or rgb.shape[-1] != 3:
            raise InputError(f"expected uint8 [height, width, 3], got {rgb.dtype} {list(rgb.shape)}")
        shown = self._effective
        if shown == ColourMap():
            return rgb
        pixels = rgb.reshape(-1, 3)
        mapped = np.empty_like(pixels)
        chroma, strength = round(_ONE * (shown.chroma - 1)), round(_ONE * shown.strength)
        grey = np.arange(256, dtype=np.float64)
        last, curves = _to_bytes(_contrasted(grey, shown.contrast)), shown.curves
        if chroma or strength < _ONE:
            contrast = last.tobytes() if shown.contrast != 1 else b""
        else:
            curves, contrast = last[curves], b""
        tables = [curve.tobytes() for curve in curves]
        for strip in _strips(len(pixels)):
            bands = [_look_up(pixels[strip, band], table) for band, table in enumerate(tables)]
            if chroma:
                bands = _with_chroma(bands, chroma)
            for band, values in enumerate(bands):
                part = _between(pixels[strip, band], values, strength) if strength < _ONE else values
                mapped[strip, band] = _look_up(part, contrast) if contrast else part
        return mapped.reshape(rgb.shape)

    def _corrected(self, grey: Float64Array, band: int) -> Float64Array:
        """Levels 0 to 255 through the band's curve at full strength."""
        levels = _stretch(grey, (self.black_in[band], self.black_out), (self.white_in[band], self.white_out))
        balanced = _divide(levels, self.balance[band])
        corrected: Float64Array = 255 * (balanced / 255) ** self.gamma
        return corrected


def luma(rgb: UInt8Array) -> UInt8Array:
    """Luma of uint8 [..., 3], rounded to uint8 [...]."""
    total = np.full(rgb.shape[:-1], 128, np.uint16)
    for band, weight in enumerate(LUMA_256):
        total += rgb[..., band].astype(np.uint16) * np.uint16(weight)
    return (total >> np.uint16(8)).astype(np.uint8)


def _parts(colours: ColourMap) -> Iterator[str]:
    """Describe in words what a map does; an empty text for the identity."""
    points = (
        ("black", _luma_of(colours.black_in), colours.black_out),
        ("white", _luma_of(colours.white_in), colours.white_out),
    )
    for name, old, new in points:
        if round(old) != round(new):
            yield f"{name} {old:.0f} -> {new:.0f}"
    if colours.gamma != 1:
        yield f"gamma {colours.gamma:.2f}"
    if colours.balance != (1, 1, 1):
        gains = (round(100 / value - 100) for value in colours.balance)
        yield "white balance " + ", ".join(
            f"{name} {gain:+d} %" for name, gain in zip("RGB", gains, strict=True)
        )
    if colours.chroma != 1:
        yield f"chroma x{colours.chroma:.2f}"
    if colours.strength != 1:
        yield f"strength {colours.strength:g}"
    if colours.contrast != 1:
        yield f"contrast x{colours.contrast:g}"


def _luma_of(levels: Triple) -> float:
    return sum(weight * level for weight, level in zip(LUMA_256, levels, strict=True)) / 256


def _stretch(grey: Float64Array, black: tuple[float, float], white: tuple[float, float]) -> Float64Array:
    """Straight between two points (from, to); from there a power each to 0 and to 255, without a kink."""
    (black_in, black_out), (white_in, white_out) = black, white
    gain = (white_out - black_out) / (white_in - black_in)
    stretched = black_out + gain * (grey - black_in)
    if black_in > 0:
        toe = grey < black_in
        # The exponent makes the power's slope where they meet that of the straight part; it is 1 or more.
        stretched[toe] = black_out * (grey[toe] / black_in) ** (gain * black_in / max(black_out, 1e-3))
    if white_in < 255:
        shoulder, room_in, room_out = grey > white_in, 255 - white_in, 255 - white_out
        exponent = gain * room_in / max(room_out, 1e-3)
        stretched[shoulder] = 255 - room_out * ((255 - grey[shoulder]) / room_in) ** exponent
    return np.clip(stretched, 0, 255)


def _contrasted(grey: Float64Array, contrast: float) -> Float64Array:
    """Straight through the middle; more contrast bends towards 0 and 255 instead of cutting off there."""
    room = np.where(grey < _MIDDLE, _MIDDLE, 255 - _MIDDLE)
    way = (grey - _MIDDLE) / room
    if contrast > 1:
        power = min(_FADES, contrast / (contrast - 1))
        way = contrast * way - (contrast - 1) * np.sign(way) * np.abs(way) ** power
    else:
        way = contrast * way
    return _MIDDLE + room * way


def _divide(levels: Float64Array, balance: float) -> Float64Array:
    """`levels / balance` up to the shoulder, then a parabola of the same slope that ends in 255."""
    if balance == 1:
        return levels
    divided, room = levels / balance, 255 - _SHOULDER
    start, slope = _SHOULDER / balance, 1 / balance
    above = np.maximum(levels - _SHOULDER, 0)
    curvature = ((255 - start) / room - slope) / room
    return np.where(above > 0, start + slope * above + curvature * above * above, divided)


def _strips(count: int) -> Iterator[slice]:
    for start in range(0, count, _STRIP_PX):
        yield slice(start, min(start + _STRIP_PX, count))


def _look_up(values: UInt8Array, table: bytes) -> UInt8Array:
    """`table[values]` of uint8 [n]; `bytes.translate` takes half the time of numpy's indices of eight bytes."""
    return np.frombuffer(values.tobytes().translate(table), np.uint8)


def _to_bytes(levels: Float64Array) -> UInt8Array:
    return np.floor(np.clip(levels, 0, 255) + 0.5).astype(np.uint8)


def _between(before: UInt8Array, after: UInt8Array, share: int) -> UInt8Array:
    """So many 128ths of the way from before to after."""
    way = after.astype(np.int16)
    way -= before
    way *= np.int16(share)
    way += np.int16(_ONE // 2)
    way >>= np.int16(7)
    way += before
    return way.astype(np.uint8)


def _with_chroma(bands: list[UInt8Array], more: int) -> list[UInt8Array]:
    """Add `more` 128ths of each band's difference from luma, as far as no band clips.

    Clipped alone, a band would take the hue with it: orange roofs would turn yellow. So the gain of a pixel falls
    to nothing on the way from levels where nothing can clip to 0 and to 255.
    """
    wide = [band.astype(np.int16) for band in bands]
    total = bands[0].astype(np.uint16) * np.uint16(LUMA_256[0])
    total += bands[1].astype(np.uint16) * np.uint16(LUMA_256[1])
    total += bands[2].astype(np.uint16) * np.uint16(LUMA_256[2])
    grey = ((total + np.uint16(128)) >> np.uint16(8)).astype(np.int16)
    gain: npt.NDArray[np.int16] | np.int16 = np.int16(more)
    if more > 0:
        highest = np.maximum(np.maximum(wide[0], wide[1]), wide[2])
        lowest = np.minimum(np.minimum(wide[0], wide[1]), wide[2])
        room = np.minimum(np.int16(255) - highest, lowest)
        # The largest differences from luma, 0.89 of 255, just fit: room (1 + gain) / 255 in 128ths.
        room *= np.int16((_ONE + more) // 2)
        gain = np.minimum(room >> np.int16(7), np.int16(more))
    return [_moved(values, grey, gain) for values in wide]


def _moved(
    values: npt.NDArray[np.int16], grey: npt.NDArray[np.int16], gain: npt.NDArray[np.int16] | np.int16
) -> UInt8Array:
    """A band with `gain` 128ths of its difference from luma added."""
    moved = (values - grey) * gain
    moved += np.int16(_ONE // 2)
    moved >>= np.int16(7)
    moved += values
    return np.clip(moved, 0, 255, out=moved).astype(np.uint8)
