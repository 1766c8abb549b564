"""The card of `orthosharp info`: what a photograph is, what is wrong with it, and what the network will do with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sr_model import ModelSpec
from tileserver.jobs.progress import duration, size
from tileserver.photo.notice import Notice, code_of, command_of
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.render.appearance import Appearance, choose_appearance
from tileserver.settings import Settings
from tileserver.tiling.layer import web_mercator

if TYPE_CHECKING:
    from tileserver.jobs.seed.estimate import SeedEstimate

_LABEL_WIDTH = 22


@dataclass(frozen=True)
class Card:
    """What there is to say of a photograph.

    Attributes:
        photograph: the photograph.
        spec: the network's declaration.
        settings: how it is to be restored.
    """

    photograph: Source
    spec: ModelSpec
    settings: Settings

    @cached_property
    def appearance(self) -> Appearance:
        """How the network is to restore the photograph, which is measured for it."""
        return choose_appearance(self.spec, self.photograph, self.settings)

    @cached_property
    def view(self) -> View:
        """The photograph in Web Mercator."""
        return View.of_tms(self.photograph, web_mercator(), self.appearance.scale)

    @property
    def output_gsd_m(self) -> float:
        """Pixel size of restored pixels on the ground."""
        return self.view.pixel(self.view.pyramid.native_zoom).gsd_m

    @property
    def ratio(self) -> float:
        """How much finer restored pixels are than what the photograph resolves."""
        return self.appearance.resolved_gsd_m / self.output_gsd_m

    @property
    def warnings(self) -> list[str]:
        """What users should know, of the photograph, of the weights and of the scale."""
        found = list(self.photograph.info.warnings)
        found += [Notice("not-exported", text) for text in self.spec.export_warnings]
        if self.spec.is_relative:
            nominal_m, resolved_m = self.photograph.info.pixel.gsd_m, self.appearance.resolved_gsd_m
            scale = self.spec.scale_warnings(nominal_m, self.output_gsd_m, resolved_m)
            found += [Notice("scale", text) for text in scale]
        return found

    @property
    def commands(self) -> list[str]:
        """Commands that mend what the warnings are about."""
        return [command for warning in self.warnings if (command := command_of(warning))]

    def lines(self) -> Iterator[str]:
        """The card as lines of text: first what the file says, then what is measured, which takes a second."""
        info = self.photograph.info
        sheets = f", {info.sheets} sheets" if info.sheets > 1 else ""
        low, high = info.rescale
        yield f"{info.name}: {info.width} x {info.height} px of {info.dtype}, bands {list(info.bands)}{sheets}"
        entries = [
            ("pixel size", f"{info.pixel.gsd_m:.3f} m"),
            ("west south east north", " ".join(f"{value:.5f}" for value in info.bounds_lonlat)),
            ("CRS", crs_name(self.photograph)),
            ("accuracy of its place", info.position.describe()),
            ("values", f"{low:.12g} is black, {high:.12g} is white"),
            ("overviews", str(list(info.overviews) or "none")),
            ("credit", info.credit or "none in the file: serve it with --credit"),
        ]
        entries += [("note", note) for note in info.notes]
        if info.date:
            entries.append(("date", info.date))
        yield from (entry(label, text) for label, text in entries)
        pyramid = self.view.pyramid
        yield entry("zooms", f"{pyramid.min_zoom}-{pyramid.max_zoom}, restored at {pyramid.native_zoom}")
        if self.spec.is_relative:
            yield from (entry(label, text) for label, text in self._restoration())

    def as_json(self, found: SeedEstimate | None) -> dict[str, Any]:
        """The card for programs."""
        info, pyramid, position = self.photograph.info, self.view.pyramid, self.photograph.info.position
        document: dict[str, Any] = {
            "name": info.name,
            "width": info.width,
            "height": info.height,
            "sheets": info.sheets,
            "dtype": info.dtype,
            "bands": list(info.bands),
            "rescale": list(info.rescale),
            "nodata": info.nodata,
            "notes": list(info.notes),
            "pixel_size_m": info.pixel.gsd_m,
            "bounds": list(info.bounds_lonlat),
            "crs": crs_name(self.photograph),
            "position": {
                "operation": position.operation,
                "accuracy_m": position.accuracy_m,
                "ballpark": position.is_ballpark,
                "outside_area_of_use": position.is_outside,
                "missing_grids": [list(one.files) for one in position.better],
            },
            "overviews": list(info.overviews),
            "credit": info.credit,
            "date": info.date,
            "zooms": [pyramid.min_zoom, pyramid.max_zoom],
            "native_zoom": pyramid.native_zoom,
            "warnings": [
                {"code": code_of(one), "text": str(one), "command": command_of(one)} for one in self.warnings
            ],
        }
        if self.spec.is_relative:
            document["resolution_m"] = self.appearance.resolved_gsd_m
            document["restored_pixel_size_m"] = self.output_gsd_m
            document["ratio"] = self.ratio
            document["colours"] = self.appearance.finish.colour_map.describe()
        if found is not None:
            document["seed"] = {
                "tiles": sum(found.tiles.values()),
                "metatiles": found.metatiles,
                "bytes": found.nbytes,
                "seconds": round(found.seconds, 1),
            }
        return document

    def _restoration(self) -> list[tuple[str, str]]:
        traits, resolved_m = self.photograph.traits, self.appearance.resolved_gsd_m
        basis = {
            "edges": f"{traits.edges} edges",
            "spectrum": "its spectrum",
            "none": "nothing: no texture",
        }
        return [
            (
                "resolution",
                f"{resolved_m:.3f} m, restored at {self.output_gsd_m:.3f} m (ratio {self.ratio:.2f})",
            ),
            (
                "edges",
                f"blur {traits.blur_px:.2f} px, unsharp mask {traits.halo_amount:.2f} "
                f"with radius {traits.halo_radius_px:.2f} px, from {basis[traits.source]}",
            ),
            ("grain", f"{traits.grain:.2f} grey levels"),
            ("colours", self.appearance.finish.colour_map.describe()),
        ]


def entry(label: str, text: str) -> str:
    """One line of the card."""
    return f"  {label:<{_LABEL_WIDTH}}{text}"


def estimate_line(found: SeedEstimate, first: int, last: int) -> str:
    """What it takes to restore all of a photograph."""
    return entry(
        "all of it",
        f"{sum(found.tiles.values()):,} tiles at zooms {first}-{last} from {found.metatiles:,} metatiles: "
        f"about {size(found.nbytes)} and {duration(found.seconds)} on this machine (orthosharp seed)",
    )


def crs_name(photograph: Source) -> str:
    """Code and name of a photograph's CRS; without a code where its datum is unknown."""
    crs = photograph.info.crs
    name = crs.to_wkt().split('"')[1]
    code = None if photograph.info.position.is_ballpark else crs.to_authority()
    return f"{':'.join(code)} ({name})" if code else name
