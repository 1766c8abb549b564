"""Ground, photographs and a VGG file for the tests of training."""

from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torchvision.models import vgg16

from training.data.manifest import Chip, write_manifest
from training.fit.config import FitConfig

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


def write_site(folder, splits, *, size=400, shift=(0.0, 0.0), crs=FEET):
    """A folder of pairs, its chips side by side from west to east, without the work of making it from photographs.

    The old side is softer, paler and half as fine.
    """
    for side in ("old", "new"):
        (folder / side).mkdir(parents=True)
    chips = []
    for column, split in enumerate(splits):
        name, new = f"{column:04d}_0000", make_ground(column, size).astype(np.uint8)
        soft = gaussian_filter(new.astype(float), (1.2, 1.2, 0))[::2, ::2].repeat(2, 0).repeat(2, 1)
        old = gaussian_filter(soft, (0.7, 0.7, 0)) * (0.7, 0.75, 0.65) + 50
        Image.fromarray(new).save(folder / "new" / f"{name}.png")
        Image.fromarray(old.astype(np.uint8)).save(folder / "old" / f"{name}.png")
        left, top = 753_000.0 + column * size, 1_300_000.0
        chips.append(Chip(name, column, 0, (left, top - size, left + size, top), split, *shift, 9.0, 0.01))
    gsd_m = 0.3048006
    write_manifest(
        folder,
        chips,
        {
            "crs": crs,
            "gsd_m": gsd_m,
            "old_gsd_m": 2 * gsd_m,
            "size_px": size,
            "step_px": size,
            "old": "1998.tif",
            "new": "2017.tif",
        },
    )
    return folder


def strip(folder, side, splits):
    """All chips of one side of a `write_site` as one picture, and where it lies."""
    pictures = [
        np.asarray(Image.open(folder / side / f"{column:04d}_0000.png")) for column in range(len(splits))
    ]
    return np.concatenate(pictures, axis=1)


def write_run(folder, pairs, weights_of):
    """A run's folder as `fit` leaves it, without training: `weights_of(path)` writes the weights."""
    folder.mkdir()
    weights_of(folder / "last.safetensors")
    FitConfig(pairs=(str(pairs),), degrade=("somewhere/town.png:2",), steps=3).write(folder / "config.json")
    return folder
