"""Sheets that were cut short are named, wherever the cut is; a VRT is read as its files mean their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from command_calls import call
from odd_photos import write
from sheets_of_ground import GREEN, RED, write_sheet, write_vrt

from tileserver.errors import SourceError
from tileserver.photo.inputs.placing import Placing
from tileserver.photo.inputs.wholeness import missing_part
from tileserver.photo.notice import code_of
from tileserver.photo.source import Source

GREY = np.tile(np.arange(40, 168, dtype=np.uint8), (1, 128, 1))


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize(
    ("profile", "share"),
    [
        ({"interleave": "band", "overviews": (), "compress": "none"}, 0.6),
        ({"interleave": "pixel", "overviews": (), "compress": "none"}, 0.6),
        ({"overviews": (2, 4), "compress": "none"}, 0.97),
    ],
)
@pytest.mark.parametrize("vrt", [False, True])
def test_a_sheet_that_was_cut_short_is_named(
    tmp_path: Path, profile: dict[str, Any], share: float, vrt: bool
) -> None:
    for column, name in ((0, "a"), (300, "c"), (128, "b")):
        write_sheet(tmp_path / f"{name}.tif", column, 0, GREEN if name == "c" else RED, **profile)
    cut(tmp_path / "b.tif", share)
    source = str(tmp_path)
    if vrt:
        source = str(write_vrt(tmp_path / "all.vrt", ["a", "c"]))
        text = Path(source).read_text().replace("c.tif", "b.tif")
        Path(source).write_text(text)
    with pytest.raises(SourceError, match=r"b\.tif: ") as refusal:
        Source.open(source)
    assert "previous exception" not in str(refusal.value)
    skipped = Source.open(source, placing=Placing(missing="skip"))
    assert any("b.tif" in warning for warning in skipped.info.warnings)
    skipped.close()


def vrt_of(folder: Path, profiles: dict[str, dict[str, Any]], values: np.ndarray) -> Path:
    """A VRT of one band over sheets, without any tags, as gdalbuildvrt writes it."""
    sources = ""
    for number, (name, profile) in enumerate(profiles.items()):
        write(folder / name, values, **profile)
        sources += (
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand>'
            '<SrcRect xOff="0" yOff="0" xSize="128" ySize="128"/>'
            f'<DstRect xOff="{128 * number}" yOff="0" xSize="128" ySize="128"/></SimpleSource>'
        )
    with rasterio.open(folder / next(iter(profiles))) as sheet:
        matrix, crs = ", ".join(map(str, sheet.transform.to_gdal())), sheet.crs.to_string()
    kind = "UInt16" if values.dtype == np.uint16 else "Byte"
    path = folder / "all.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{128 * len(profiles)}" rasterYSize="128"><SRS>{crs}</SRS>'
        f'<GeoTransform>{matrix}</GeoTransform><VRTRasterBand dataType="{kind}" band="1">{sources}'
        "</VRTRasterBand></VRTDataset>"
    )
    return path


def test_a_vrt_is_a_negative_if_its_files_are(tmp_path: Path) -> None:
    negative = {"photometric": "MINISWHITE"}
    path = vrt_of(tmp_path, {"a.tif": negative, "b.tif": negative}, GREY)
    assert Source.open(str(path), nodata="none").info.rescale == (255.0, 0.0)
    nested = tmp_path / "nested.vrt"
    nested.write_text(path.read_text().replace("a.tif", "all.vrt"))
    assert Source.open(str(nested), nodata="none").info.rescale == (255.0, 0.0)
    inverted = "<ScaleOffset>255</ScaleOffset><ScaleRatio>-1</ScaleRatio></ComplexSource>"
    text = path.read_text().replace("</SimpleSource>", inverted).replace("<SimpleSource>", "<ComplexSource>")
    path.write_text(text)
    assert Source.open(str(path), nodata="none").info.rescale == (0.0, 255.0)


def test_a_vrt_of_negatives_and_positives_is_refused(tmp_path: Path) -> None:
    path = vrt_of(tmp_path, {"a.tif": {"photometric": "MINISWHITE"}, "b.tif": {}}, GREY)
    with pytest.raises(SourceError, match=r"negatives .*a\.tif.*b\.tif.*folder"):
        Source.open(str(path))


def test_a_vrt_has_the_bits_of_its_files(tmp_path: Path) -> None:
    values = GREY.astype(np.uint16) * 16
    path = vrt_of(tmp_path, {"a.tif": {"nbits": 12}, "b.tif": {"nbits": 12}}, values)
    assert Source.open(str(path), nodata="none").info.rescale == (0.0, 4095.0)
    other = tmp_path / "other"
    other.mkdir()
    path = vrt_of(other, {"a.tif": {"nbits": 12}, "b.tif": {}}, values)
    with pytest.raises(SourceError, match=r"12 bits: a\.tif"):
        Source.open(str(path))


def test_the_only_sheet_that_is_left_is_served(tmp_path: Path) -> None:
    for column, name in ((0, "a"), (600, "b")):
        write_sheet(tmp_path / f"{name}.tif", column, 0, RED, side=600, overviews=(), compress="none")
    cut(tmp_path / "b.tif", 0.6)
    left = Source.open(str(tmp_path), placing=Placing(missing="skip"))
    assert left.info.width == 600
    left.close()


PLAIN: dict[str, Any] = {"compress": "none", "overviews": ()}
STRIPED = {"tiled": False, "blockxsize": 600, "blockysize": 8}


@pytest.mark.parametrize(
    ("profile", "share"),
    [
        ({**PLAIN, **STRIPED}, 0.6),
        (PLAIN, 0.6),
        ({**PLAIN, "interleave": "band"}, 0.7),
        ({**PLAIN, **STRIPED, "interleave": "band"}, 0.7),
        ({**PLAIN, "bigtiff": "yes"}, 0.99),
        ({**PLAIN, "interleave": "band", "endianness": "big"}, 0.9),
        ({"overviews": (2, 4), "compress": "none"}, 0.98),
        ({"driver": "JPEG"}, 0.6),
        ({"driver": "PNG"}, 0.6),
        ({"driver": "JP2OpenJPEG"}, 0.6),
    ],
)
def test_a_single_file_that_was_cut_short_is_named(
    tmp_path: Path, profile: dict[str, Any], share: float, tiny_weights: Path
) -> None:
    driver = profile.get("driver")
    path = tmp_path / "old.tif"
    options = {} if driver else profile
    write_sheet(path, 0, 0, RED, side=600, **options)
    if driver:
        whole = path.with_suffix({"JPEG": ".jpg", "PNG": ".png"}.get(driver, ".jp2"))
        noise = np.random.default_rng(1).integers(0, 255, (3, 600, 600), np.uint8)
        with rasterio.open(path, "r+") as file:
            file.write(noise)
        rasterio.shutil.copy(path, whole, driver=driver)
        path = whole
    sound = Source.open(str(path))
    assert not [one for one in sound.info.warnings if code_of(one) == "cut-short"]
    sound.close()
    cut(path, share)
    options = (
        "--weights",
        tiny_weights,
        "--runtime",
        "openvino",
        "--nodata",
        "none",
        "--no-estimate",
        "--json",
    )
    answer = call("info", path, *options)
    assert answer.exit_code == 0, answer.output
    found = [one for one in json.loads(answer.stdout)["warnings"] if one["code"] == "cut-short"]
    assert len(found) == 1
    assert path.name in found[0]["text"]
    if not driver:
        assert "blocks are missing" in found[0]["text"] or "directory is missing" in found[0]["text"]


def test_the_blocks_that_a_sparse_file_leaves_out_are_not_missing(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    write_sheet(path, 0, 0, (0, 0, 0), side=600, sparse_ok=True, overviews=(2,))
    assert missing_part(str(path)) == ""


def test_a_file_whose_directory_of_overviews_is_missing_is_said_to_be_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path / "old.tif", GREY // 16, nbits=4, overviews=(2,))
    cut(path, 0.6)
    with pytest.raises(SourceError, match=r"cut short: a part of its directory is missing"):
        Source.open(str(path))
