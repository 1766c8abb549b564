"""The command that gives a photograph overviews, with the options that keep its place and its mask."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from rasterio.io import DatasetReader

from tileserver.photo.inputs.naming import is_remote, title_of
from tileserver.photo.inputs.prepare import Prepared
from tileserver.photo.inputs.virtual import is_virtual


def overviews_command(dataset: DatasetReader, prepared: Prepared, given: str = "", made: str = "") -> str:
    """Return a shell command that adds overviews to a mosaic, or makes a COG of a photograph.

    Args:
        dataset: the photograph, open.
        prepared: where it comes from.
        given, made: names of input and output; by default the user's own file, and one beside it.
    """
    given = given or prepared.given
    made = made or shlex.quote(_beside(prepared))
    if is_virtual(dataset.name):
        if prepared.sampled.lower().endswith(".vrt"):
            return f"gdal_translate -of COG {compression(dataset)} {given} {made}"
        method = "-tps" if "GCP_TPS" in prepared.how else "-rpc" if prepared.how.startswith("rpc") else ""
        crs = f"-t_srs {shlex.quote(_name(prepared))} " if dataset.crs else ""
        return f"gdalwarp -of COG -r cubic {method} {crs}{compression(dataset)} {given} {made}"
    if dataset.driver == "VRT":
        return f"gdaladdo --config VRT_VIRTUAL_OVERVIEWS YES -r average {given} 2 4 8 16"
    place = "" if dataset.crs == prepared.crs else f"-a_srs {shlex.quote(_name(prepared))} "
    return f"gdal_translate -of COG {place}{compression(dataset)} {given} {made}"


def compression(dataset: DatasetReader) -> str:
    """Return creation options for a COG: JPEG only for 8-bit RGB without nodata, whose borders it would blur."""
    plain = dataset.count == 3 and set(dataset.dtypes) == {"uint8"} and dataset.nodata is None
    return "-co COMPRESS=JPEG -co QUALITY=90" if plain else "-co COMPRESS=DEFLATE -co PREDICTOR=YES"


def _name(prepared: Prepared) -> str:
    code = prepared.crs.to_authority()
    return ":".join(code) if code else prepared.crs.to_wkt()


def _beside(prepared: Prepared) -> str:
    if is_remote(prepared.sampled):
        return f"{title_of(prepared.sampled)}_cog.tif"
    path = PurePath(prepared.sampled)
    return str(path.with_name(f"{path.stem}_cog.tif"))
