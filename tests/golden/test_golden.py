"""A golden tile of the whole pipeline: warp, fill, network, mask, codec. ORTHOSHARP_GOLDEN=write replaces it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tileserver.service import TileRequest, TileService
from tileserver.tiling.grid import TileAddress

GOLDEN = Path(__file__).parent / "restored.png"
# GDAL, OpenVINO and the CPU may round differently; a shift by a tenth of a pixel is far above this.
MEAN_TOLERANCE, MAX_TOLERANCE, MASK_TOLERANCE = 0.25, 6, 0.002


def histogram(error: np.ndarray) -> str:
    """Return the histogram of errors, for the failure message."""
    edges = (0, 1, 2, 3, 5, 9, 17, 33, 256)
    counts, _ = np.histogram(error, edges)
    lines = [
        f"  {low:3d} to {high - 1:3d}: {count / error.size:8.4%}"
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    return "\n".join(["error in grey levels:", *lines])


def test_the_tile_across_the_edge_of_the_hole(
    make_service: Callable[..., TileService], make_photo: Callable[..., Path]
) -> None:
    service = make_service(source=str(make_photo("golden", hole="mask")))
    pyramid = service.rasters.view("restored", "WebMercatorQuad").pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    tile = TileAddress(
        pyramid.native_zoom, (extent.x + extent.width // 4) // 256, (extent.y + extent.height // 4) // 256
    )
    body = service.tile(TileRequest("restored", "WebMercatorQuad", tile, "png")).body
    if os.environ.get("ORTHOSHARP_GOLDEN") == "write":
        GOLDEN.write_bytes(body)
    golden, made = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), np.int16)
        for data in (GOLDEN.read_bytes(), body)
    )
    assert ((golden[..., 3] > 0) != (made[..., 3] > 0)).mean() <= MASK_TOLERANCE
    both = (golden[..., 3] > 0) & (made[..., 3] > 0)
    assert 0.1 < both.mean() < 0.95, "the golden tile shows both sides of the edge"
    error = np.abs(golden - made)[both][:, :3]
    assert error.mean() <= MEAN_TOLERANCE, histogram(error)
    assert error.max() <= MAX_TOLERANCE, histogram(error)
