"""The appearance of a restored photograph: pixel size, colours, and the properties that the model is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sr_model import GsdMismatchError, ModelSpec, PhotoContext
from sr_model.colour_map import ColourMap
from tileserver.errors import SettingsError
from tileserver.photo.colours import colour_map_of
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.render.finish import Finish
from tileserver.settings import Settings
from tileserver.tiling.layer import web_mercator

# Contrast of corrected colours, unless the settings name another. Blind eyes put the same restored pictures with 1.25
# before those without, on 16 of 18 sheets, those of clear photographs among them.
CONTRAST: Final = 1.2


@dataclass(frozen=True)
class Appearance:
    """The properties of restored pixels that a photograph and the settings decide, besides the weights.

    Attributes:
        scale: pixel size that it is restored at.
        resolved_gsd_m: metres on the ground that the photograph resolves: its pixel size, or more where it is soft.
        grey: whether it is black and white.
        halo: amount, and radius in the photograph's pixels, of the unsharp mask that is undone before the network.
        nominal_gsd_m: pixel size of the photograph in metres.
        finish: adjustment of restored pixels.
    """

    scale: OutputScale
    resolved_gsd_m: float
    grey: bool
    halo: tuple[float, float]
    nominal_gsd_m: float
    finish: Finish

    @property
    def halo_sigma_m(self) -> float:
        """Radius of the unsharp mask on the ground, in metres."""
        return self.halo[1] * self.nominal_gsd_m

    def context(self, spec: ModelSpec, output_gsd_m: float) -> PhotoContext:
        """Return the properties of the photograph for the model, if restored pixels have this size on the ground."""
        ratio = spec.ratio_of(self.resolved_gsd_m, output_gsd_m)
        amount, radius_px = self.halo
        # The ratio counts in pixels of what the photograph resolves, the radius in those that it has.
        return PhotoContext(ratio, self.grey, amount, radius_px * self.nominal_gsd_m / self.resolved_gsd_m)


def choose_appearance(spec: ModelSpec, source: Source, settings: Settings) -> Appearance:
    """Work out how a photograph is to look with these weights.

    Raises:
        GsdMismatchError: the weights cannot restore a photograph of this pixel size.
        SettingsError: the settings ask for a pixel size that the weights cannot draw.
        ReadError: the photograph cannot be read to find its colours.
    """
    spec.check_source_gsd(source.info.pixel.gsd_m)
    resolved = resolved_gsd_m(spec, source, settings)
    return Appearance(
        scale=_scale(spec, source, settings, resolved),
        resolved_gsd_m=resolved,
        grey=source.is_grey,
        halo=_halo(spec, source, settings),
        nominal_gsd_m=source.info.pixel.gsd_m,
        finish=_finish(spec, source, settings),
    )


def resolved_gsd_m(spec: ModelSpec, source: Source, settings: Settings) -> float:
    """Metres on the ground that the photograph resolves, as named by the settings or estimated from its edges.

    Weights of one pixel size do not ask: it is the photograph's pixel size then.
    """
    nominal = source.info.pixel.gsd_m
    if not spec.is_relative:
        return nominal
    if settings.resolution is not None:
        return max(nominal, settings.resolution)
    return nominal * source.traits.resolved_px


def _scale(spec: ModelSpec, source: Source, settings: Settings, resolved: float) -> OutputScale:
    wanted_m = _wanted_gsd_m(source, settings)
    if not spec.is_relative:
        if wanted_m is not None:
            raise SettingsError(
                f"{spec.name} restores at {spec.gsd_m:.3g} m only, the pixel size it was trained for: "
                "leave out --pixel-size and --native-zoom, or use weights of relative scale"
            )
        return OutputScale(spec.gsd_m)
    nominal = source.info.pixel.gsd_m
    if wanted_m is None:
        return OutputScale(spec.output_gsd_m(resolved), coarsest_m=nominal)
    try:
        spec.check_output_gsd(nominal, wanted_m)
    except GsdMismatchError as error:
        option = "native-zoom" if settings.pixel_size is None else "pixel-size"
        raise SettingsError(f"--{option}: {error}") from error
    # A pixel size that was named is rounded: one a little above the photograph's means the photograph's.
    return OutputScale(wanted_m, coarsest_m=max(nominal, wanted_m))


def _wanted_gsd_m(source: Source, settings: Settings) -> float | None:
    if settings.native_zoom is None:
        return settings.pixel_size
    mercator = View.of_tms(source, web_mercator(), OutputScale(1.0))
    return mercator.pixel(settings.native_zoom).gsd_m


def _halo(spec: ModelSpec, source: Source, settings: Settings) -> tuple[float, float]:
    """Amount and radius of the unsharp mask to undo; all of a measured one would look smoky, so half of it."""
    if settings.halo == "off":
        return 0.0, 1.0
    if not spec.is_relative:
        raise SettingsError(
            f"--halo: {spec.name} was trained on photographs with their unsharp masks: leave it out"
        )
    if settings.halo == "auto":
        traits = source.traits
        return traits.halo_amount / 2, min(max(traits.halo_radius_px, 0.3), 3.0)
    amount, radius_px = settings.halo
    return amount, radius_px


def _finish(spec: ModelSpec, source: Source, settings: Settings) -> Finish:
    """Weights of a pair translate colours by themselves; all others leave them to one map of the photograph."""
    if spec.colours == "network":
        return Finish(settings.contrast or 1.0, "old" if settings.colours == "photo" else "model")
    strength = settings.colour_strength if settings.colours == "corrected" else 0.0
    found = ColourMap()
    if strength:
        found = colour_map_of(source.small_copy, source.info.name)
    contrast = settings.contrast or 1 + strength * (CONTRAST - 1)
    return Finish(colour_map=found.adjusted(strength=strength, contrast=contrast))
