"""Tiles in PNG are what any reader of PNG takes them for."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.windows import Window

from tileserver.tiling.encode import encode, is_whole
from tileserver.tiling.grid import TileAddress
from tileserver.tiling.png import encode_png, filtered
from tileserver.tiling.raster import Raster

DEMO = Path(__file__).parents[2] / "tileserver" / "demo" / "2017.tif"
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read(body: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        pixels = np.asarray(image)
        return pixels.reshape(*pixels.shape[:2], -1)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    bands=st.sampled_from(sorted(MODES)),
    step=st.sampled_from([0, 1, 7, 255]),
    seed=st.integers(0, 99),
)
def test_every_picture_is_read_as_it_was(height: int, width: int, bands: int, step: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = (random.integers(0, 1 + step, (height, width, bands)) * (seed % 3)).astype(np.uint8)
    body = encode_png(pixels)
    with Image.open(io.BytesIO(body)) as image:
        assert image.mode == MODES[bands]
    assert (read(body) == pixels).all()
    assert is_whole(body, "png")


def test_chunks_have_lengths_and_sums() -> None:
    """Pillow is lenient; other readers are not."""
    body = encode_png(np.full((3, 5, 3), 200, np.uint8))
    at, kinds = 8, []
    while at < len(body):
        (length,) = struct.unpack(">I", body[at : at + 4])
        kind, data = body[at + 4 : at + 8], body[at + 8 : at + 8 + length]
        assert body[at + 8 + length : at + 12 + length] == struct.pack(">I", zlib.crc32(kind + data))
        kinds.append(kind)
        at += 12 + length
    assert (at, kinds) == (len(body), [b"IHDR", b"IDAT", b"IEND"])


def test_rows_are_differences_from_the_mean_of_left_and_above() -> None:
    pixels = np.array([[[10, 20, 30], [14, 24, 34]], [[11, 21, 31], [255, 0, 9]]], np.uint8)
    first, second = filtered(pixels)
    assert list(first) == [3, 10, 20, 30, 14 - 5, 24 - 10, 34 - 15]
    # Means of 11 and 14, 21 and 24, 31 and 34 are rounded down; differences are those of bytes.
    assert list(second) == [3, 11 - 5, 21 - 10, 31 - 15, 255 - 12, 256 - 22, 256 + 9 - 32]


@pytest.mark.parametrize("holes", [False, True])
def test_a_tile_is_no_larger_than_pillows_default(photo_tile: np.ndarray, holes: bool) -> None:
    mask = np.full(photo_tile.shape[:2], 255, np.uint8)
    if holes:
        mask[:100, :90] = 0
    rgb = np.where(mask[..., None], photo_tile, np.uint8(0))
    body = encode(Raster(TileAddress(0, 0, 0).window, rgb, mask), "png")
    assert (read(body) == (np.dstack([rgb, mask]) if holes else rgb)).all()
    usual = io.BytesIO()
    Image.fromarray(read(body)).save(usual, "PNG")
    assert len(body) < 1.03 * len(usual.getvalue())


def test_a_tile_without_a_picture_is_tiny() -> None:
    assert len(encode(Raster.blank(TileAddress(0, 0, 0).window), "png")) < 500


@pytest.fixture
def photo_tile() -> np.ndarray:
    """A tile of the demo."""
    with rasterio.open(DEMO) as dataset:
        return np.moveaxis(dataset.read((1, 2, 3), window=Window(500, 400, 256, 256)), 0, -1)
