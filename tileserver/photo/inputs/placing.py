"""How a user wants photographs to be placed: settings that are the same for a single file and for each sheet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from rasterio.crs import CRS
from rasterio.errors import CRSError

from tileserver.errors import SettingsError
from tileserver.settings import Settings
from tileserver.tiling.grid import BBox

Missing = Literal["refuse", "skip"]
GcpTransform = Literal["polynomial", "tps"]
Inaccurate = Literal["warn", "refuse"]


@dataclass(frozen=True)
class Placing:
    """Where photographs lie, and what to do where that is in doubt.

    Attributes:
        crs: CRS that replaces what the files say; None to believe them.
        gcp_transform: how ground control points are interpolated: one polynomial, or a thin plate spline.
        missing: whether absent and damaged sheets refuse the photograph, or are left out.
        inaccurate: whether a doubtful place is a warning, or refuses the photograph.
        source_pixel_size_m: pixel size on the ground of a photograph behind a service; None to estimate it.
        source_bounds: ground, in degrees, that is taken of a photograph behind a service; None for all of it.
    """

    crs: str | None = None
    gcp_transform: GcpTransform = "polynomial"
    missing: Missing = "refuse"
    inaccurate: Inaccurate = "warn"
    source_pixel_size_m: float | None = None
    source_bounds: BBox | None = None

    @classmethod
    def of_settings(cls, settings: Settings, *, later: bool = False) -> Placing:
        """Return what the settings say of the old photograph, or of the later one."""
        return cls(
            settings.new_crs if later else settings.crs,
            settings.gcp_transform,
            settings.missing,
            settings.inaccurate,
            settings.new_source_pixel_size if later else settings.source_pixel_size,
            settings.source_bounds,
        )

    def given_crs(self) -> CRS | None:
        """Return the CRS that was given.

        Raises:
            SettingsError: it is not a CRS.
        """
        if self.crs is None:
            return None
        try:
            return CRS.from_user_input(self.crs)
        except (CRSError, ValueError) as error:
            raise SettingsError(
                f"--crs {self.crs!r} is not a CRS that PROJ knows: give a code such as EPSG:28992, or WKT"
            ) from error


AS_THE_FILE_SAYS: Final = Placing()
