"""Assemble restored metatiles into a COG."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError

from tileserver.errors import OutputError
from tileserver.jobs.disk import part_of, publish
from tileserver.jobs.restore.metatile_folder import QUICK, MetatileFolder
from tileserver.jobs.restore.target import Target
from tileserver.photo.gdal_errors import gdal_errors
from tileserver.tiling.grid import METATILE_PX
from tileserver.tiling.raster import Raster, UInt8Array
from tileserver.tiling.xmp import tiff_tags


def write_cog(
    target: Target,
    metatiles: MetatileFolder,
    path: Path,
    tags: dict[str, str],
    nodata: int | None,
    block_px: int,
    mark: bytes = b"",
) -> int:
    """Write a lossless COG with overviews, and with a mask or nodata.

    Args:
        target: the restored area.
        metatiles: its metatiles.
        path: the file; it appears under this name when it is complete.
        tags: metadata.
        nodata: value of pixels without data, which no valid pixel then has; None for a mask.
        block_px: side of the file's blocks.
        mark: XMP of the file; empty for none.

    Returns:
        Size of the file in bytes.

    Raises:
        OutputError: the file cannot be written.
    """
    cog = part_of(path)
    plain = part_of(path.with_name(f"{path.name}.plain"))
    try:
        with gdal_errors(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_NUM_THREADS="ALL_CPUS"):
            _write_plain(target, metatiles, plain, tags, nodata, mark)
            _check_whole(plain)
            options = {
                "COMPRESS": "DEFLATE",
                "LEVEL": "1",  # restored images hardly compress: level 6 takes 50 % longer and saves 0.4 %
                "PREDICTOR": "YES",
                "BIGTIFF": "IF_SAFER",
                "BLOCKSIZE": str(block_px),
            }
            rasterio.shutil.copy(plain, cog, driver="COG", OVERVIEW_RESAMPLING="AVERAGE", **options)
            _check_whole(cog)
    except (RasterioError, OSError) as error:
        raise OutputError(
            f"{path} cannot be written ({error}): make room, then run the same command again"
        ) from error
    finally:
        plain.unlink(missing_ok=True)
    publish(cog, path)
    return path.stat().st_size


def _write_plain(
    target: Target,
    metatiles: MetatileFolder,
    path: Path,
    tags: dict[str, str],
    nodata: int | None,
    mark: bytes,
) -> None:
    """Write a plain tiled TIFF to make the COG from: in a COG, overviews come before the pixels."""
    whole = target.window
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "width": whole.width,
        "height": whole.height,
        "crs": target.crs,
        "transform": target.transform(whole),
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        **QUICK,
        "photometric": "RGB",
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.update_tags(**tags)
        if mark:
            dataset.update_tags(ns="xml:XMP", **tiff_tags(mark))
        for part in whole.split(METATILE_PX):
            raster = metatiles.read(part)
            place = rasterio.windows.Window(part.x - whole.x, part.y - whole.y, part.width, part.height)
            rgb = raster.rgb if nodata is None else with_nodata(raster, nodata)
            dataset.write(np.moveaxis(rgb, 2, 0), window=place)
            if nodata is None:
                dataset.write_mask(raster.mask, window=place)


def _check_whole(path: Path) -> None:
    """Check that all blocks are in the file: GDAL reports no error if the last blocks hit a full disk.

    Raises:
        OSError: the file is truncated.
    """
    end = path.stat().st_size
    with rasterio.open(path) as dataset:
        for (row, column), _ in dataset.block_windows(1):
            place = f"{column}_{row}"
            offset, nbytes = (
                int(dataset.get_tag_item(f"BLOCK_{word}_{place}", "TIFF", 1) or end)
                for word in ("OFFSET", "SIZE")
            )
            if offset + nbytes > end:
                raise OSError(errno.ENOSPC, "the disk is full")


def with_nodata(raster: Raster, nodata: int) -> UInt8Array:
    """Return RGB with `nodata` where data are missing; valid pixels of that value get an adjacent value."""
    other = nodata + 1 if nodata < 255 else nodata - 1
    shown = np.where(raster.rgb == nodata, np.uint8(other), raster.rgb)
    return np.where(raster.mask[..., None] != 0, shown, np.uint8(nodata))
