"""Photographs of every kind, read as RGB and mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import morecantile
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from conftest import Photo, picture
from rasterio.enums import ColorInterp

from sr_model import PixelWindow
from tileserver.errors import OutsideError, ReadError, SourceChangedError, SourceError
from tileserver.photo.inputs.naming import title_of
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.photo.view import View

MakePhoto = Callable[..., Path]
MERCATOR = morecantile.tms.get("WebMercatorQuad")


def middle(view: View, zoom: int, size: int = 256) -> PixelWindow:
    extent = view.pyramid.grid.covering(zoom, view.pyramid.extent)
    return PixelWindow(
        extent.x + (extent.width - size) // 2, extent.y + (extent.height - size) // 2, size, size
    )


def open_view(path: Path, **options: object) -> View:
    return View.of_tms(Source.open(str(path), **options), MERCATOR, OutputScale(0.3048))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("hole", [None, "nodata", "alpha", "mask"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_every_kind_gives_the_same_picture(
    make_photo: MakePhoto, dtype: str, hole: str | None, bands: int
) -> None:
    small = {"width": 256, "height": 192}
    view = open_view(make_photo(dtype=dtype, hole=hole, bands=bands, **small))
    zoom = view.pyramid.native_zoom
    extent = view.pyramid.grid.covering(zoom, view.pyramid.extent)
    raster = view.read(zoom, extent)
    # The hole is the north-west eighth of the photograph, which lies a little askew on the grid.
    half, quarter = extent.height // 2, extent.width // 4
    assert (raster.mask[30 : half - 30, 30 : quarter - 30] == (0 if hole else 255)).all()
    assert (raster.mask != 0).mean() == pytest.approx(0.96 * (7 / 8 if hole else 1), abs=0.04)
    assert (raster.rgb[raster.mask == 0] == 0).all()
    inside = raster.rgb[half + 30 : -30, 30:-30]
    expected = picture(Photo(bands=bands, **small))[: 3 if bands > 1 else 1]
    means = expected[:, 107:181, 11:-11].mean(axis=(1, 2))
    assert inside.mean(axis=(0, 1)) == pytest.approx(np.resize(means, 3), abs=4)
    if bands == 1:
        assert (np.ptp(raster.rgb, axis=2) == 0).all()


def test_bands_and_range_can_be_chosen(make_photo: MakePhoto) -> None:
    path = make_photo(bands=4, dtype="uint16")
    window = middle(open_view(path), 18)
    plain = open_view(path).read(18, window)
    swapped = open_view(path, bands=(3, 2, 1)).read(18, window)
    np.testing.assert_array_equal(swapped.rgb, plain.rgb[..., ::-1])
    dark = open_view(path, rescale=(0, 2 * 65535)).read(18, window)
    assert np.abs(dark.rgb * 2.0 - plain.rgb).max() <= 2
    grey = open_view(path, bands=(2,)).read(18, window)
    np.testing.assert_array_equal(grey.rgb[..., 0], plain.rgb[..., 1])


def test_a_colour_with_one_band_equal_to_nodata_is_not_nodata(tmp_path: Path) -> None:
    red = np.zeros((3, 300, 300), np.uint8)
    red[0] = 200
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "width": 300, "height": 300, "nodata": 0}
    transform = rasterio.Affine(0.6, 0, 620_000, 0, -0.6, 4_695_000)
    with rasterio.open(
        tmp_path / "red.tif", "w", crs="EPSG:32618", transform=transform, **profile
    ) as dataset:
        dataset.write(red)
    view = open_view(tmp_path / "red.tif")
    raster = view.read(18, middle(view, 18, 64))
    assert raster.is_full
    # GDAL keeps valid values off the nodata value, by one grey level.
    assert np.abs(raster.rgb.astype(int) - (200, 0, 0)).max() <= 1


# The last one is read in two parts.
@pytest.mark.parametrize(("zoom_offset", "size"), [(-3, 64), (0, 512), (1, 512), (1, 1300)])
@pytest.mark.parametrize("hole", [None, "mask"])
def test_neighbouring_windows_read_the_same_pixels(
    make_photo: MakePhoto, hole: str | None, zoom_offset: int, size: int
) -> None:
    view = open_view(make_photo(hole=hole))
    zoom = view.pyramid.native_zoom + zoom_offset
    big = middle(view, zoom, size)
    whole = view.read(zoom, big)
    for dx, dy in ((0, 0), (37, 11), (size // 2, size // 2 - 5)):
        window = PixelWindow(big.x + dx, big.y + dy, size - dx, size - dy)
        part, same = view.read(zoom, window), whole.crop(window)
        np.testing.assert_array_equal(part.mask, same.mask)
        error = np.abs(part.rgb.astype(int) - same.rgb)
        assert error.max() <= 1
        assert (error > 0).mean() < 0.002


@pytest.mark.parametrize(
    ("crs", "gsd", "origin"),
    [
        ("EPSG:32618", 0.6096, (620_000.0, 4_695_000.0)),
        ("EPSG:6537", 2.0, (753_000.0, 1_300_000.0)),  # US survey feet
        ("EPSG:6537+6360", 2.0, (753_000.0, 1_300_000.0)),  # the same with heights
        ("ESRI:102722", 2.0, (2_100_000.0, 700_000.0)),
        ("EPSG:3857", 0.6096 / 0.7385, (-8_185_000.0, 5_220_000.0)),
        ("EPSG:4326", 0.6096 / 111_060, (-73.53, 42.39)),
    ],
)
def test_ground_size_is_in_metres(
    make_photo: MakePhoto, crs: str, gsd: float, origin: tuple[float, float]
) -> None:
    path = make_photo(crs=crs, gsd_m=gsd, origin=origin)
    view = open_view(path)
    expected = 0.6096 * (0.7385**0.5 if crs == "EPSG:4326" else 1)
    assert view.source.info.pixel.gsd_m == pytest.approx(expected, rel=0.003)
    native = view.pixel(view.pyramid.native_zoom).gsd_m
    assert 0.3048 / 2**0.5 <= native <= 0.3048 * 2**0.5
    assert not view.read(18, middle(view, 18, 64)).is_empty


def test_native_zoom_depends_on_the_latitude(make_photo: MakePhoto) -> None:
    north = open_view(make_photo("north", crs="EPSG:32633", origin=(500_000.0, 7_700_000.0)))  # 69.4 degrees
    equator = open_view(make_photo("equator", crs="EPSG:32633", origin=(500_000.0, 10_000.0)))
    assert (north.pyramid.native_zoom, equator.pyramid.native_zoom) == (17, 19)


def test_other_matrix_sets(make_photo: MakePhoto) -> None:
    source = Source.open(str(make_photo()))
    view = View.of_tms(source, morecantile.tms.get("WGS1984Quad"), OutputScale(0.3048))
    assert view.read(18, middle(view, 18, 64)).is_full
    with pytest.raises(OutsideError, match="WebMercatorQuad"):
        View.of_tms(source, morecantile.tms.get("GNOSISGlobalGrid"), OutputScale(0.3048))


def test_windows_may_lie_outside(make_photo: MakePhoto) -> None:
    view = open_view(make_photo())
    extent = view.pyramid.grid.covering(18, view.pyramid.extent)
    far = PixelWindow(extent.x - 5000, extent.y, 64, 64)
    assert view.read(18, far).is_empty
    corner = PixelWindow(extent.x - 32, extent.y - 32, 128, 128)
    raster = view.read(18, corner)
    assert not raster.is_empty
    assert (raster.mask[:30] == 0).all()


def test_overviews_serve_coarse_zooms(make_photo: MakePhoto) -> None:
    with_overviews, without = open_view(make_photo("a")), open_view(make_photo("b", overviews=()))
    assert with_overviews.source.info.warnings == ()
    assert "gdaladdo -r average" in without.source.info.warnings[0]
    zoom = with_overviews.pyramid.native_zoom - 4
    window = middle(with_overviews, zoom, 32)
    error = with_overviews.read(zoom, window).rgb.astype(int) - without.read(zoom, window).rgb
    assert np.abs(error).mean() < 4


def test_credit_and_fingerprint(make_photo: MakePhoto) -> None:
    first, other = make_photo("a"), make_photo("b", seed=2)
    info = Source.open(str(first)).info
    assert info.credit == "Test Survey <1998>"
    assert info.fingerprint == Source.open(str(first)).info.fingerprint
    assert info.fingerprint != Source.open(str(other)).info.fingerprint


def test_a_description_is_not_a_credit(make_photo: MakePhoto) -> None:
    """Scanners and editors describe themselves there."""
    path = make_photo()
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(CREDIT="", TIFFTAG_IMAGEDESCRIPTION="Exported by Scanner 3.1, 600 dpi")
    assert Source.open(str(path)).info.credit == ""


@pytest.mark.parametrize("overviews", [(), (2, 4, 8)])
def test_fingerprint_samples_pixels_where_files_have_no_modification_time(
    make_photo: MakePhoto, overviews: tuple[int, ...]
) -> None:
    """As over HTTP; here in GDAL's in-memory file system."""
    found = set()
    for seed in (1, 2, 2):
        rasterio.shutil.copyfiles(
            make_photo(f"p{seed}", seed=seed, overviews=overviews), "/vsimem/replaced.tif"
        )
        found.add(Source.open("/vsimem/replaced.tif").info.fingerprint)
    rasterio.shutil.delete("/vsimem/replaced.tif")
    assert len(found) == 2


def test_statistics_beside_a_photograph_do_not_change_its_fingerprint(make_photo: MakePhoto) -> None:
    """QGIS and `gdalinfo -stats` write them into an .aux.xml file."""
    path = make_photo()
    before = Source.open(str(path)).info.fingerprint
    notes = path.with_name(f"{path.name}.aux.xml")
    band = "<PAMRasterBand band='{}'>{}</PAMRasterBand>".format
    statistics = "<Metadata><MDI key='STATISTICS_MEAN'>100.0</MDI></Metadata>"
    notes.write_text(f"<PAMDataset>{band(1, statistics)}</PAMDataset>")
    assert rasterio.open(path).tags(1)["STATISTICS_MEAN"] == "100.0"
    assert Source.open(str(path)).info.fingerprint == before
    notes.write_text(f"<PAMDataset>{band(3, '<ColorInterp>Alpha</ColorInterp>')}</PAMDataset>")
    assert Source.open(str(path)).info.fingerprint != before
    notes.write_text(f"<PAMDataset>{band(1, '<NoDataValue>7</NoDataValue>')}</PAMDataset>")
    assert Source.open(str(path)).info.fingerprint != before


def test_a_replaced_file_is_noticed(make_photo: MakePhoto) -> None:
    path = make_photo()
    view = open_view(path)
    make_photo(seed=5)
    with pytest.raises(SourceChangedError, match="restart"):
        view.read(18, middle(view, 18, 64))


def test_a_corrupt_block_is_an_error_and_others_are_read(make_photo: MakePhoto) -> None:
    path = make_photo()
    corrupt(path)
    view = open_view(path)
    zoom = view.pyramid.native_zoom
    extent = view.pyramid.grid.covering(zoom, view.pyramid.extent)
    with pytest.raises(ReadError) as failed:
        view.read(zoom, extent)
    assert str(path.parent) not in str(failed.value)
    whole = PixelWindow(extent.x + extent.width - 300, extent.y + extent.height - 300, 200, 200)
    assert not view.read(zoom, whole).is_empty


def corrupt(path: Path) -> None:
    """Overwrite the first block's bytes; size and date of the file stay plausible."""
    with rasterio.open(path) as dataset:
        offset = int(dataset.tags(1, ns="TIFF")["BLOCK_OFFSET_0_0"]) if dataset.tags(1, ns="TIFF") else None
        offset = offset or int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        size = int(dataset.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": None}, "--crs EPSG:CODE"),
    ],
)
def test_errors_name_the_remedy(make_photo: MakePhoto, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        Source.open(str(make_photo(**changes)))


def test_unreadable_files_and_missing_bands(make_photo: MakePhoto, tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    for name, way_out in (("text.tif", "gdalinfo"), ("nothing.tif", "check its name")):
        with pytest.raises(SourceError, match=way_out):
            Source.open(str(tmp_path / name))
    with pytest.raises(SourceError, match="--bands"):
        Source.open(str(make_photo()), bands=(1, 2, 7))


def test_float_photographs_are_stretched(make_photo: MakePhoto) -> None:
    view = open_view(make_photo(dtype="float32"), rescale=(0.0, 256 * 255.0))
    assert view.read(18, middle(view, 18, 64)).rgb.std() > 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": 'LOCAL_CS["site",UNIT["metre",1]]'}, "not tied to the Earth"),
        ({"crs": "EPSG:4326", "gsd_m": 1e-5, "origin": (179.999, 0.0)}, "antimeridian"),
        ({"crs": "EPSG:32601", "origin": (166_000.0, 10_000.0)}, "antimeridian"),
    ],
)
def test_places_without_tiles_are_refused(
    make_photo: MakePhoto, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        Source.open(str(make_photo(**changes)))


def test_rows_may_run_north(make_photo: MakePhoto) -> None:
    path = make_photo(overviews=())
    with rasterio.open(path, "r+") as dataset:
        dataset.transform = rasterio.Affine(0.6, 0, 620_000, 0, 0.6, 4_695_000)
    left, bottom, right, top = Source.open(str(path)).info.bounds
    assert left < right
    assert bottom < top


def test_a_signature_is_not_part_of_the_name(make_photo: MakePhoto) -> None:
    assert title_of("https://photos.example/a%20town/old%201.tif?sig=secret.x") == "old 1"
    assert title_of("/vsicurl/https://photos.example/old.tif?sig=secret.x") == "old"
    # Elsewhere a question mark is a part of the name.
    path = make_photo()
    other = path.rename(path.with_name("photo?1%202.tif"))
    assert Source.open(str(other)).info.name == "photo?1%202"


def test_sets_that_do_not_cover_the_photograph_are_refused(make_photo: MakePhoto) -> None:
    source = Source.open(str(make_photo()))
    for name in ("EuropeanETRS89_LAEAQuad", "NZTM2000Quad", "LINZAntarticaMapTilegrid"):
        with pytest.raises(OutsideError, match="WebMercatorQuad"):
            View.of_tms(source, morecantile.tms.get(name), OutputScale(0.3048))


def test_infrared_tagged_as_alpha_is_warned_about(make_photo: Callable[..., Path]) -> None:
    path = make_photo(bands=4)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (*dataset.colorinterp[:3], ColorInterp.alpha)
    (warning,) = Source.open(str(path)).info.warnings
    assert "gdal_edit.py -colorinterp_4 undefined" in warning
    with pytest.raises(SourceError, match="colorinterp_4"):
        Source.open(str(path), bands=(4, 1, 2))
    assert not Source.open(str(make_photo("true", hole="alpha"))).info.warnings


@pytest.mark.parametrize(("dtype", "opaque"), [("uint8", 254), ("uint8", 1), ("uint16", 255)])
def test_pixels_that_are_not_fully_transparent_are_shown(
    make_photo: MakePhoto, dtype: str, opaque: int
) -> None:
    """Programs write alpha values below the dtype's maximum; GDAL's own mask treats them as valid."""
    path = make_photo(dtype=dtype, hole="alpha", bands=4, width=256, height=192)
    wanted = open_view(path)
    window = middle(wanted, wanted.pyramid.native_zoom)
    mask = wanted.read(wanted.pyramid.native_zoom, window).mask
    with rasterio.open(path, "r+") as dataset:
        band = dataset.colorinterp.index(ColorInterp.alpha) + 1
        dataset.write(np.where(dataset.read(band) > 0, opaque, 0).astype(dtype), band)
    shown = open_view(path)
    assert (shown.read(shown.pyramid.native_zoom, window).mask == mask).mean() > 0.98
