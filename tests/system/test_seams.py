"""No seams between metatiles, with the bundled weights and the demo photograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sr_model import PhotoContext, PixelWindow, aligned_window, crop_slices, fill_nodata
from tileserver.render.appearance import choose_appearance
from tileserver.render.renderer import trim_px
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.stages import Stages
from tileserver.tiling.grid import METATILE_PX

DEMO = Path(__file__).parents[2] / "tileserver" / "demo" / "2010.tif"
MERCATOR = "WebMercatorQuad"
Record = Callable[[str, object], None]
# Half of the strip beside a border that is compared with a window centred on it.
STRIP_PX = 32
LENGTH_PX = 768


@pytest.fixture(scope="module", params=["openvino", "torch"])
def demo(request: pytest.FixtureRequest) -> Iterator[TileService]:
    settings = Settings(source=str(DEMO), runtime=request.param, device="cpu", colours="photo")
    service = TileService(settings)
    yield service
    service.close()


@pytest.fixture(scope="module")
def border(demo: TileService) -> tuple[int, int]:
    """Column of a border between metatiles and the row where a metatile begins, near the middle of the demo."""
    pyramid = demo.rasters.view("restored", MERCATOR).pyramid
    extent = pyramid.grid.covering(pyramid.native_zoom, pyramid.extent)
    column = round((extent.x + extent.width / 2) / METATILE_PX) * METATILE_PX
    row = (extent.y + extent.height // 2) // METATILE_PX * METATILE_PX
    assert extent.x + 500 < column < extent.x + extent.width - 500
    return column, row


def context(service: TileService) -> PhotoContext:
    view = service.rasters.view("restored", MERCATOR)
    appearance = choose_appearance(service.restorer.spec, service.old, service.settings)
    return appearance.context(service.restorer.spec, view.pixel(view.pyramid.native_zoom).gsd_m)


def metatile_pixels(service: TileService, window: PixelWindow) -> np.ndarray:
    zoom = service.rasters.view("restored", MERCATOR).pyramid.native_zoom
    return service.raster("restored", MERCATOR, zoom, window).rgb.astype(np.float64)


def test_metatiles_agree_with_a_window_centred_on_their_border(
    demo: TileService, border: tuple[int, int], record_property: Record
) -> None:
    column, row = border
    spec = demo.restorer.spec
    strip = PixelWindow(column - STRIP_PX, row + 128, 2 * STRIP_PX, LENGTH_PX)
    view = demo.rasters.view("restored", MERCATOR)
    outer = aligned_window(strip, 3 * spec.halo_px, spec.stride)
    old = view.read(view.pyramid.native_zoom, outer)
    restored = demo.restorer.restore(fill_nodata(old.rgb, old.mask)[None], context(demo))[0]
    centred = restored[crop_slices(outer.grown(-trim_px(spec)), strip)]
    difference = np.abs(metatile_pixels(demo, strip) - centred)
    record_property("mean_difference", float(difference.mean()))
    assert difference.mean() <= 1, f"largest {difference.max():.0f} of 255"


def test_gradient_across_the_border_is_that_of_elsewhere(
    demo: TileService, border: tuple[int, int], record_property: Record
) -> None:
    """The step from the last pixel of one metatile to the first of the next, against the centred picture's own.

    A plain average over other columns would compare different ground; the same ground in one window does not.
    """
    column, row = border
    spec = demo.restorer.spec
    view = demo.rasters.view("restored", MERCATOR)
    pair = PixelWindow(column - 1, row + 128, 2, LENGTH_PX)
    outer = aligned_window(pair, 3 * spec.halo_px, spec.stride)
    old = view.read(view.pyramid.native_zoom, outer)
    restored = demo.restorer.restore(fill_nodata(old.rgb, old.mask)[None], context(demo))[0]
    centred = restored[crop_slices(outer.grown(-trim_px(spec)), pair)].astype(float)
    across = metatile_pixels(demo, pair)
    ratio = np.abs(np.diff(across, axis=1)).mean() / np.abs(np.diff(centred, axis=1)).mean()
    record_property("gradient_ratio", float(ratio))
    assert 0.98 <= ratio <= 1.02


def test_finer_zooms_have_no_seam_either(demo: TileService, border: tuple[int, int]) -> None:
    """Interpolation at a border reads the neighbour's pixels from the margin."""
    column, row = border
    view = demo.rasters.view("restored", MERCATOR)
    zoom = view.pyramid.native_zoom + 1
    strip = PixelWindow(2 * column - 8, 2 * (row + 256), 16, 512)
    pixels = demo.rasters.raster("restored", MERCATOR, zoom, strip, Stages()).rgb.astype(float)
    steps = np.abs(np.diff(pixels, axis=1)).mean(axis=(0, 2))
    # Bicubic interpolation alternates between two kinds of steps; the border is of the odd kind.
    same_kind = np.delete(steps[1::2], 3)
    assert same_kind.min() * 0.8 <= steps[7] <= same_kind.max() * 1.2
