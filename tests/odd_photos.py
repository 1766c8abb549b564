"""Photographs with odd values and borders, and what the real application shows at each of their pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from made_places import TOWN, place
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import xy
from rasterio.warp import transform
from scipy import ndimage
from starlette.testclient import TestClient

from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress
from tileserver.web.app import create_app

SIDE = 224
GSD_M = 0.6
CRS = "EPSG:32618"
TRANSFORM = Affine(GSD_M, 0, 620_000.0, 0, -GSD_M, 4_695_000.0)
_FEW = 8
# Pixels of 0.88 and 0.44 m: coarser and finer than the photographs.
COARSE, FINE = 17, 18


def town(side: int = SIDE, seed: int = 1) -> np.ndarray:
    """A town, smoothed a little as photographs are: uint8 [3, side, side], neither black nor white."""
    ground = place(TOWN, seed=seed, side=side).astype(float)
    return np.clip(ndimage.gaussian_filter(ground, (1, 1, 0)), 20, 235).astype(np.uint8).transpose(2, 0, 1)


def turned(angle: float, side: int = SIDE) -> np.ndarray:
    """Where a photograph that was turned lies in its file: bool [side, side]."""
    inside = np.zeros((side, side))
    inside[side // 6 : -side // 6, side // 6 : -side // 6] = 1
    return ndimage.rotate(inside, angle, reshape=False, order=0) > 0.5


def write(path: Path, values: np.ndarray, *, mask: np.ndarray | None = None, **profile: Any) -> Path:
    """Write values [bands, height, width]; the profile may name overviews, colours and a colour table as well."""
    overviews, colours, table = (profile.pop(name, None) for name in ("overviews", "colours", "table"))
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "dtype": values.dtype,
        "height": values.shape[1],
        "width": values.shape[2],
        "crs": CRS,
        "transform": TRANSFORM,
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        **profile,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
        if table is not None:
            dataset.write_colormap(1, table)
        if colours is not None:
            dataset.colorinterp = colours
        if mask is not None:
            dataset.write_mask(np.where(mask, 255, 0).astype(np.uint8))
        if overviews:
            dataset.build_overviews(overviews, Resampling.average)
    return path


@contextmanager
def served(source: Path, weights: Path, **settings: Any) -> Iterator[TestClient]:
    """The application over a photograph, not warmed up: it reads at once, and loads the network when it needs it."""
    app = create_app(Settings(source=str(source), weights=weights, runtime="openvino", **settings))
    try:
        yield TestClient(app, raise_server_exceptions=False)
    finally:
        app.state.close()


def seen(client: TestClient, layer: str, zoom: int, side: int = SIDE) -> np.ndarray:
    """What a layer shows at each pixel of a photograph: uint8 [side, side, 4], red, green, blue and alpha."""
    rows, columns = np.mgrid[:side, :side]
    eastings, northings = xy(TRANSFORM, rows.ravel(), columns.ravel())
    xs, ys = transform(CRS, "EPSG:3857", eastings, northings)
    grid = client.app.state.service.rasters.view("old", "WebMercatorQuad").pyramid.grid  # type: ignore[attr-defined]
    across = ((np.array(xs) - grid.left) / grid.cell(zoom)).astype(int)
    down = ((grid.top - np.array(ys)) / grid.cell(zoom)).astype(int)
    shown = np.zeros((side * side, 4), np.uint8)
    tiles = np.stack([across // 256, down // 256], axis=1)
    for x, y in np.unique(tiles, axis=0):
        here = (tiles == (x, y)).all(axis=1)
        answer = client.get(f"/{layer}/tiles/WebMercatorQuad/{zoom}/{x}/{y}.png")
        if answer.status_code == 404:
            continue
        assert answer.status_code == 200, answer.text
        tile = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
        shown[here] = tile[down[here] % 256, across[here] % 256]
    return shown.reshape(side, side, 4)


def likeness(shown: np.ndarray, picture: np.ndarray, where: np.ndarray) -> float:
    """Smallest correlation of the three colours with a picture [1 or 3, height, width]."""
    wanted = np.resize(picture, (3, *picture.shape[1:])) if picture.shape[0] == 1 else picture
    found = [np.corrcoef(shown[..., band][where], wanted[band][where])[0, 1] for band in range(3)]
    return float(min(found))


def inner(where: np.ndarray, px: int = 3) -> np.ndarray:
    """An area without its rim."""
    return ndimage.binary_erosion(where, np.ones((3, 3)), iterations=px)


def same_place(where: np.ndarray, shown: np.ndarray, px: int = 3) -> None:
    """Alpha shows an area and nothing beside it, but for a rim of so many pixels."""
    visible = shown[..., 3] > 0
    frame = np.zeros_like(where)
    frame[px:-px, px:-px] = True
    # A few pixels of ringing may be taken for ground, or a roof of the border's value at its rim for ringing.
    assert (~visible[inner(where, px) & frame]).sum() <= _FEW
    assert visible[inner(~where, px) & frame].sum() <= _FEW


def address(client: TestClient, zoom: int) -> TileAddress:
    """A tile in the middle of the photograph."""
    pyramid = client.app.state.service.rasters.view("old", "WebMercatorQuad").pyramid  # type: ignore[attr-defined]
    window = pyramid.grid.covering(zoom, pyramid.extent)
    return TileAddress(zoom, (window.x + window.width // 2) // 256, (window.y + window.height // 2) // 256)
