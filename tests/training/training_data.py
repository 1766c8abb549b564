"""Ground, photographs and a VGG file for the tests of training."""

from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torchvision.models import vgg16

FEET = "EPSG:6537"  # New York Long Island, US survey feet


def write_vgg(path: Path) -> Path:
    """VGG16's trunk with torchvision's keys and random values, in half precision as files of weights come."""
    torch.manual_seed(0)
    save_file({f"features.{k}": v.half() for k, v in vgg16(weights=None).features.state_dict().items()}, path)
    return path


def make_ground(seed: int, size: int = 320) -> np.ndarray:
    """Fields and roofs: flat patches of several sizes with edges, float [size, size, 3] in 0-255."""
    random = np.random.default_rng(seed)
    picture = np.full((size, size), 110.0)
    for _ in range(size * size // 700):
        y, x, h, w = (*random.integers(0, size, 2), *random.integers(6, 50, 2))
        picture[y : y + h, x : x + w] = random.uniform(40, 220)
    return np.repeat(gaussian_filter(picture, 0.8)[..., None], 3, axis=2)


def write_photo(path, picture, pixel, origin=(753_000.0, 1_300_000.0), crs=FEET):
    """A GeoTIFF of [height, width, bands]; `pixel` in units of the CRS."""
    height, width, bands = picture.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=bands,
        dtype=picture.dtype,
        crs=crs,
        transform=Affine(pixel, 0, origin[0], 0, -pixel, origin[1]),
    ) as file:
        file.write(np.moveaxis(picture, 2, 0))
    return path


def old_and_new(folder, size):
    """New at 1 ft, old at 2 ft and lying 3 ft too far east; a black wedge in the north-west."""
    new = make_ground(1, size)
    moved = np.roll(new, 3, axis=1)
    old = gaussian_filter(moved, (1, 1, 0)).reshape(size // 2, 2, size // 2, 2, 3).mean((1, 3))
    new[:100, :100] = 0
    return (
        write_photo(folder / "old.tif", (old * 0.7 + 60).astype(np.uint8), 2.0),
        write_photo(folder / "new.tif", new.astype(np.uint8), 1.0),
    )
