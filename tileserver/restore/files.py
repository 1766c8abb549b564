"""Put restored blocks together: one COG, or many images with world files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyproj
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.errors import RasterioError

from sr_model import PixelWindow
from tileserver.encode import Extension, encode
from tileserver.errors import OutputError
from tileserver.grid import METATILE_PX
from tileserver.raster import Raster, UInt8Array, canvas, paste
from tileserver.restore.blocks import Blocks
from tileserver.restore.target import Target
from tileserver.seed.outputs import sync

# Suffix of the world file that each driver looks for; all of them take .wld too.
WORLD_FILES: Final[dict[Extension, str]] = {"png": ".pgw", "jpg": ".jgw"}


def write_cog(
    target: Target, blocks: Blocks, path: Path, tags: dict[str, str], nodata: int | None, block_px: int
) -> None:
    """Write a lossless COG with overviews, and a mask or nodata where there are no pixels.

    Args:
        target: what was restored.
        blocks: its metatiles.
        path: the file; appears when it is whole.
        tags: metadata.
        nodata: value of missing pixels, which no other pixel then has; None for a mask.
        block_px: side of the file's blocks.

    Raises:
        OutputError: it cannot be written.
    """
    plain, cog = path.with_name(f"{path.name}.plain.part"), path.with_name(f"{path.name}.part")
    try:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_NUM_THREADS="ALL_CPUS"):
            _write_plain(target, blocks, plain, tags, nodata)
            options = {
                "COMPRESS": "DEFLATE",
                "PREDICTOR": "YES",
                "BIGTIFF": "IF_SAFER",
                "BLOCKSIZE": str(block_px),
            }
            rasterio.shutil.copy(plain, cog, driver="COG", OVERVIEW_RESAMPLING="AVERAGE", **options)
    except (RasterioError, OSError) as error:
        raise OutputError(
            f"{path} cannot be written ({error}): make room, then run the same command again"
        ) from error
    finally:
        plain.unlink(missing_ok=True)
    sync(cog)
    cog.replace(path)


def _write_plain(
    target: Target, blocks: Blocks, path: Path, tags: dict[str, str], nodata: int | None
) -> None:
    """An ordinary tiled TIFF, which the COG is made of: a COG's overviews stand before its pixels."""
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
        "compress": "deflate",
        "zlevel": 1,
        "photometric": "RGB",
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.update_tags(**tags)
        for part in parts(whole, METATILE_PX):
            raster = blocks.read(part)
            place = rasterio.windows.Window(part.x - whole.x, part.y - whole.y, part.width, part.height)
            rgb = raster.rgb if nodata is None else with_nodata(raster, nodata)
            dataset.write(np.moveaxis(rgb, 2, 0), window=place)
            if nodata is None:
                dataset.write_mask(raster.mask, window=place)


def write_chips(
    target: Target, blocks: Blocks, folder: Path, name: str, size_px: int, extension: Extension
) -> int:
    """Write square images with world files, .prj and GDAL's .aux.xml; chips that show nothing are left out.

    Args:
        target: what was restored.
        blocks: its metatiles.
        folder: where the images go.
        name: how they begin.
        size_px: their side; the last ones of a row are filled up with nothing.
        extension: their format.

    Returns:
        How many there are.

    Raises:
        OutputError: the disk does not take them.
    """
    count = 0
    whole = target.window
    try:
        for chip in parts(whole, size_px, anchored=True):
            raster = canvas(PixelWindow(chip.x, chip.y, size_px, size_px))
            paste(raster, blocks.read(chip))
            if raster.is_empty:
                continue
            row, column = (chip.y - whole.y) // size_px, (chip.x - whole.x) // size_px
            _write_chip(folder / f"{name}_{row:05}_{column:05}", raster, target, extension)
            count += 1
    except OSError as error:
        raise OutputError(
            f"{folder} does not take images ({error.strerror}): make room, then run the same command again"
        ) from error
    return count


def _write_chip(stem: Path, raster: Raster, target: Target, extension: Extension) -> None:
    crs = pyproj.CRS.from_wkt(target.crs.to_wkt())
    world = world_file(target.transform(raster.window)).encode()
    aux = ET.Element("PAMDataset")
    ET.SubElement(aux, "SRS", dataAxisToSRSAxisMapping="1,2").text = crs.to_wkt("WKT1_GDAL")
    files = {
        ".wld": world,
        WORLD_FILES[extension]: world,
        ".prj": crs.to_wkt("WKT1_ESRI").encode(),
        # GDAL and QGIS take the CRS of an image from here, not from the .prj that others read.
        f".{extension}.aux.xml": ET.tostring(aux),
        # The picture last: where it is, everything is.
        f".{extension}": encode(raster, extension),
    }
    for suffix, data in files.items():
        path = stem.with_name(stem.name + suffix)
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(data)
        part.replace(path)


def world_file(transform: Affine) -> str:
    """The six lines of a world file, which speaks of the middle of the first pixel."""
    x, y = transform * (0.5, 0.5)
    values = (transform.a, transform.d, transform.b, transform.e, x, y)
    return "".join(f"{value!r}\n" for value in values)


def with_nodata(raster: Raster, nodata: int) -> UInt8Array:
    """Pixels with `nodata` where there are none, and its neighbour where there is one of this very value."""
    other = nodata + 1 if nodata < 255 else nodata - 1
    shown = np.where(raster.rgb == nodata, np.uint8(other), raster.rgb)
    return np.where(raster.mask[..., None] != 0, shown, np.uint8(nodata))


def parts(window: PixelWindow, size_px: int, *, anchored: bool = False) -> Iterator[PixelWindow]:
    """Split a window at multiples of `size_px`, counted from the window's corner if `anchored`."""
    x0, y0 = (window.x % size_px, window.y % size_px) if anchored else (0, 0)
    for row in range((window.y - y0) // size_px, -(-(window.bottom - y0) // size_px)):
        for column in range((window.x - x0) // size_px, -(-(window.right - x0) // size_px)):
            x, y = max(column * size_px + x0, window.x), max(row * size_px + y0, window.y)
            right = min((column + 1) * size_px + x0, window.right)
            bottom = min((row + 1) * size_px + y0, window.bottom)
            yield PixelWindow(x, y, right - x, bottom - y)
