"""From the address of a service to one raster that GDAL opens."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from tileserver.errors import ReadError, SourceError
from tileserver.photo.dataset_pool import open_dataset
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.inputs.services.address import ServiceAddress
from tileserver.photo.inputs.services.client import PoliteClient
from tileserver.photo.inputs.services.detail import find_base
from tileserver.photo.inputs.services.gateway import Gateway
from tileserver.photo.inputs.services.levels import ServiceLayer
from tileserver.photo.inputs.services.raster import ServiceRaster
from tileserver.photo.inputs.services.wms import open_wms
from tileserver.photo.inputs.services.wmts import open_wmts
from tileserver.photo.inputs.services.xyz import open_xyz
from tileserver.photo.notice import Notice
from tileserver.photo.pixel_size import WGS84
from tileserver.tiling.grid import BBox

# A level that is coarser than the given pixel size by less than this is fine enough.
_ROUNDING: Final = 1.02
# More pixels than this along a side are more than one town.
_LARGE_PX: Final = 400_000
_LONGEST_TERMS: Final = 200


@dataclass(frozen=True)
class OpenedService:
    """A photograph behind a service.

    Attributes:
        path: name that GDAL opens it by, until `close`.
        title, credit: as the capabilities say; the credit may be empty.
        crs: CRS of its tiles.
        how: address, choices, ground and pixel size: what is part of keys.
        notes, warnings: what to tell the user.
        raster, gateway: what it is read through.
    """

    path: str
    title: str
    credit: str
    crs: CRS
    how: str
    notes: tuple[str, ...]
    warnings: tuple[Notice, ...]
    raster: ServiceRaster
    gateway: Gateway

    def close(self) -> None:
        """Stop asking the service."""
        self.raster.close()
        self.gateway.close()


def open_service(address: ServiceAddress, placing: Placing) -> OpenedService:
    """Ask a service what it offers, choose one level of a layer, and make one raster of it.

    Raises:
        SourceError: the service cannot be reached or is something else, lacks what is named, or has nothing there.
        SettingsError: `placing` is invalid.
    """
    given = placing.given_crs()
    with ExitStack() as failing:
        client = PoliteClient(address.host)
        failing.callback(client.close)
        if address.kind == "WMTS":
            layer = open_wmts(address, client, given)
        elif address.kind == "WMS":
            layer = open_wms(address, client, given, placing.source_pixel_size_m, placing.source_bounds)
        else:
            layer = open_xyz(address, client, given, placing.source_bounds)
        layer = _cropped(layer, address, placing.source_bounds)
        gateway = Gateway(client, layer.levels)
        failing.callback(gateway.close)
        try:
            base, notes = _base(layer, gateway, placing.source_pixel_size_m)
            raster = ServiceRaster(layer, base, gateway)
            failing.callback(raster.close)
            with gdal_errors(), open_dataset(raster.path) as dataset:
                shape, transform = dataset.shape, tuple(dataset.transform)
                _check_reading(dataset.name, raster, address)
        except (RasterioError, ReadError, OSError) as error:
            reason = gateway.last_fault or str(error)
            raise SourceError(
                f"{address.shown} cannot be read: {reason}. Check its address, or try later"
            ) from error
        failing.pop_all()
    warnings = list(layer.warnings)
    if not layer.credit and address.kind != "XYZ":
        warnings.append(
            Notice(
                "service-without-credit",
                "the service does not say who owns the photograph: ask its provider, and name the owner with "
                "--credit TEXT",
            )
        )
    if not raster.overviews:
        warnings.append(
            Notice(
                "service-without-overviews",
                "the service has no coarser tiles on the same grid, so low zooms will be slow: give another "
                ",tilematrixset=NAME",
            )
        )
    if max(shape) > _LARGE_PX:
        warnings.append(
            Notice(
                "service-is-large",
                f"the service covers {shape[1]} x {shape[0]} pixels: --source-bounds W,S,E,N takes a part of it",
            )
        )
    terms = " / ".join(one[:_LONGEST_TERMS] for one in layer.terms if one not in layer.credit)
    if terms:
        notes.append(f"the service says of its use: {terms}")
    return OpenedService(
        path=raster.path,
        title=re.sub(r"[/\\\s]+", " ", layer.title).strip(),
        credit=layer.credit,
        crs=layer.crs,
        how=repr(["service", address.identity, layer.identity, shape, transform]),
        notes=tuple(notes),
        warnings=tuple(warnings),
        raster=raster,
        gateway=gateway,
    )


def _cropped(layer: ServiceLayer, address: ServiceAddress, lonlat: BBox | None) -> ServiceLayer:
    if lonlat is None or address.kind == "XYZ":
        return layer
    try:
        with gdal_errors():
            wanted = BBox(*transform_bounds(WGS84, layer.crs, *lonlat, densify_pts=21))
    except RasterioError as error:
        raise SourceError(f"--source-bounds lies outside of the CRS of {address.shown}") from error
    cropped = layer.cropped(wanted)
    if cropped is None:
        with gdal_errors():
            degrees = transform_bounds(layer.crs, WGS84, *layer.bounds, densify_pts=21)
        raise SourceError(
            f"--source-bounds does not touch the photograph: {address.shown} covers "
            + ",".join(f"{value:.4f}" for value in degrees)
        )
    return cropped


def _base(layer: ServiceLayer, gateway: Gateway, gsd_m: float | None) -> tuple[int, list[str]]:
    """Number of the level that is full resolution, and what was found."""
    sizes = [layer.gsd_m(level) for level in layer.levels]
    if gsd_m is not None:
        return max((i for i, size in enumerate(sizes) if size <= gsd_m * _ROUNDING), default=0), []
    base = find_base(layer, gateway)
    found = f"{sizes[base]:.3g}"
    level = layer.levels[base].name
    return base, [
        f"its tiles of {found} m (level {level}) have all of its detail, as found in samples; "
        f"--source-pixel-size {found} fixes that"
    ]


def _check_reading(path: str, raster: ServiceRaster, address: ServiceAddress) -> None:
    """Refuse a service that cannot be read, or has nothing there, before tiles need it."""
    level = {"overview_level": len(raster.overviews) - 1} if raster.overviews else {}
    with open_dataset(path, **level) as coarsest:
        alpha = coarsest.read(4, out_shape=tuple(min(side, 1024) for side in coarsest.shape))
    if not alpha.any():
        raise SourceError(
            f"{address.shown} has no photograph there: check layer, --source-bounds and --source-pixel-size"
        )
