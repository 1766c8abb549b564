"""From options to plan and metadata of a seed run; invalid options are refused before anything is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from rasterio.warp import transform_bounds

from tileserver.archives.metadata import Description
from tileserver.attribution import ai_notice, attribution, credit, title
from tileserver.errors import OutsideError, SettingsError
from tileserver.jobs.area import Area, wanted_area, wanted_bbox
from tileserver.jobs.disk import free_bytes, is_writable
from tileserver.jobs.progress import now, size
from tileserver.jobs.seed.archive_output import ArchiveOutput
from tileserver.jobs.seed.estimate import estimate, most_bytes
from tileserver.jobs.seed.output import Output
from tileserver.jobs.seed.plan import SeedPlan
from tileserver.jobs.seed.units import TileEncoding
from tileserver.photo.pixel_size import WGS84
from tileserver.service import TileService
from tileserver.tiling.encode import Extension, default_quality
from tileserver.tiling.grid import BBox
from tileserver.tiling.layer import WEB_MERCATOR
from tileserver.tiling.xmp import SOURCE_TYPE

LAYER = "restored"


@dataclass(frozen=True)
class SeedRequest:
    """The tiles that the user requests.

    Attributes:
        zooms: first and last zoom; None for all zooms up to the native one.
        bbox, area: 'W,S,E,N', or the path of a GeoJSON file; at most one of them.
        tms, format, quality, scale, skip_empty: the options of the same names.
    """

    zooms: tuple[int, int] | None = None
    bbox: str | None = None
    area: Path | None = None
    tms: str = WEB_MERCATOR
    format: Extension = "webp"
    quality: int | None = None
    scale: int = 1
    skip_empty: bool = False

    @property
    def encoding(self) -> TileEncoding:
        """Encoding of the tiles."""
        return TileEncoding(self.tms, self.format, self.quality, self.skip_empty)


def make_plan(service: TileService, request: SeedRequest) -> SeedPlan:
    """Determine which tiles to make.

    Raises:
        SettingsError: there are no such tiles, or the options contradict each other.
    """
    if request.bbox and request.area:
        raise SettingsError("--bbox and --area are mutually exclusive: give one of them")
    if request.quality is not None and default_quality(request.format) is None:
        raise SettingsError(f"--quality does not apply to {request.format}, which is lossless: leave it out")
    try:
        view = service.rasters.view(LAYER, request.tms)
    except OutsideError as error:
        raise SettingsError(f"--tms: {error}") from error
    pyramid = view.pyramid
    wanted = None
    if request.bbox:
        wanted = wanted_bbox(request.bbox, view.crs)
    elif request.area:
        wanted = wanted_area(request.area, view.crs)
    last = max(0, pyramid.native_zoom - (request.scale - 1))
    low, high = request.zooms or (min(pyramid.min_zoom, last), last)
    if not 0 <= low <= high <= pyramid.max_zoom:
        raise SettingsError(
            f"--zooms {low}-{high}: for this photograph the network supports zooms 0 to {pyramid.max_zoom}; "
            f"it restores at zoom {pyramid.native_zoom}"
        )
    return SeedPlan(pyramid, Area(wanted, pyramid.extent), low, high, request.scale)


def describe(service: TileService, plan: SeedPlan, request: SeedRequest) -> Description:
    """Return the metadata of the output."""
    view = service.rasters.view(LAYER, request.tms)
    wanted = BBox(*transform_bounds(view.crs, WGS84, *plan.area.bounds, densify_pts=21))
    return Description(
        name=title(service),
        attribution=attribution(service, LAYER),
        credit=credit(service),
        notice=f"{ai_notice(service)}: a guess by a neural network, not a measurement",
        bounds=view.source.info.bounds_lonlat if plan.area.is_whole else wanted,
        min_zoom=plan.min_zoom,
        max_zoom=plan.max_zoom,
        date=now(),
        identity=service.identity.of_tiles(
            request.tms, request.format, quality=request.quality, scale=request.scale
        ),
        options=make_options(plan, request),
        source_type=SOURCE_TYPE if service.mark(LAYER) else "",
    )


def make_options(plan: SeedPlan, request: SeedRequest) -> str:
    """Return which tiles are requested, as text that is equal for equal requests."""
    outline = "whole" if plan.area.is_whole else hashlib.sha256(plan.area.shape.wkb).hexdigest()[:12]
    document = {
        "zooms": f"{plan.min_zoom}-{plan.max_zoom}",
        "area": outline,
        "skip_empty": request.skip_empty,
    }
    return json.dumps(document, sort_keys=True)


def check_format(output: Output, request: SeedRequest) -> None:
    """Check that the output supports the tile matrix set.

    Raises:
        SettingsError: the output is an archive, and the set is not Web Mercator.
    """
    if isinstance(output, ArchiveOutput) and request.tms != WEB_MERCATOR:
        raise SettingsError(f"MBTiles and PMTiles hold Web Mercator only: seed {request.tms} into a folder")


def check_room(output: Output, service: TileService, plan: SeedPlan, request: SeedRequest, jobs: int) -> None:
    """Check the disk space before a run begins.

    Raises:
        SettingsError: the disk has too little space, or is read-only.
    """
    if output.disk is None:
        return
    if not is_writable(output.disk):
        raise SettingsError(
            f"{output.name} cannot be written because its folder is read-only: name another output"
        )
    free = free_bytes(output.disk)
    beside = output.tile_bytes * plan.tile_count
    if (most_bytes(plan) + beside) * output.copies < free:
        return
    needed = (estimate(service, plan, request.encoding, jobs).nbytes + beside) * output.copies
    if 1.05 * needed > free:
        raise SettingsError(
            f"{output.name} needs about {size(needed)} of disk space while it is made, and {size(free)} are free: "
            "make room, or request fewer zooms or a smaller area"
        )
