"""Every restored picture says in itself that a network made it, and decodes to the same pixels as without that."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import subprocess
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_calls import restore
from conftest import middle_tile, path_of
from PIL import Image
from seeded_photo import SeededPhoto
from starlette.testclient import TestClient

from sr_model import PixelWindow
from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.encode import encode, is_whole
from tileserver.tiling.raster import Raster
from tileserver.tiling.xmp import SOURCE_TYPE, ai_packet, with_xmp
from tileserver.web.app import create_app

EXIFTOOL = shutil.which("exiftool")
needs_exiftool = pytest.mark.skipif(EXIFTOOL is None, reason="Debian: apt-get install libimage-exiftool-perl")
PACKET = ai_packet("compact <1>", "0123456789abcdef")


def exif(body: bytes, folder: Path) -> dict[str, Any]:
    """What exiftool reads from a file, names and values as they stand in it; warnings are failures."""
    assert EXIFTOOL is not None
    path = folder / "picture"
    path.write_bytes(body)
    command = [EXIFTOOL, "-json", "-n", "-G1", "-validate", "-warning", "-error", "-all", str(path)]
    (found,) = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    faults = [name for name in found if name.endswith((":Warning", ":Error"))]
    # exiftool warns of GDAL's own tags in a TIFF.
    assert not faults or body[:2] == b"II", found
    return found


def raster(size: tuple[int, int], *, full: bool) -> Raster:
    height, width = size
    rgb = np.random.default_rng(3).integers(0, 255, (height, width, 3)).astype(np.uint8)
    mask = np.full(size, 255, np.uint8)
    if not full:
        mask[: height // 2] = 0
    return Raster(PixelWindow(0, 0, width, height), rgb, mask).masked()


@needs_exiftool
@pytest.mark.parametrize("extension", ["png", "webp", "jpg"])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("size", [(256, 256), (512, 512), (37, 301)])
def test_exiftool_reads_the_mark_and_pixels_stay(
    extension: str, full: bool, size: tuple[int, int], tmp_path: Path
) -> None:
    picture = raster(size, full=full)
    plain, marked = encode(picture, extension), encode(picture, extension, packet=PACKET)
    assert is_whole(marked, extension)
    assert 300 < len(marked) - len(plain) < 800, "a few hundred bytes"
    before, after = Image.open(io.BytesIO(plain)), Image.open(io.BytesIO(marked))
    assert (before.mode, before.size) == (after.mode, after.size)
    assert np.array_equal(np.asarray(before), np.asarray(after))
    found = exif(marked, tmp_path)
    assert found["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
    assert "compact <1> 0123456789ab" in found.values()


@needs_exiftool
@pytest.mark.parametrize("alpha", [True, False])
def test_lossless_webp(alpha: bool, tmp_path: Path) -> None:
    """Pillow writes a bare bitstream of VP8L, in which transparency is a bit."""
    pixels = np.random.default_rng(3).integers(0, 255, (40, 61, 4 if alpha else 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, exact=True)
    marked = with_xmp(buffer.getvalue(), "webp", PACKET)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(marked))), pixels)
    assert exif(marked, tmp_path)["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE


def test_nothing_is_marked_where_there_is_nothing() -> None:
    empty = Raster.blank(PixelWindow(0, 0, 256, 256))
    assert encode(empty, "jpg", packet=PACKET) == b""
    assert encode(raster((9, 9), full=True), "png", packet=b"") == encode(raster((9, 9), full=True), "png")


@pytest.mark.slow
@needs_exiftool
def test_served_pictures(served: TestClient, tmp_path: Path) -> None:
    west, south, east, north = served.get("/tilejson.json").json()["bounds"]
    box = f"{west},{south},{east},{north}"
    wms = "SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&STYLES=&CRS=CRS:84&WIDTH=64&HEIGHT=64&FORMAT=image/png"
    for layer in ("restored", "difference", "old", "new"):
        tile = f"/{layer}/tiles/WebMercatorQuad/{path_of(served)}"
        pictures = [f"{tile}.{end}" for end in ("png", "webp", "jpg")] + [f"{tile}@2x.webp", f"{tile}.webp"]
        pictures += [
            f"/{layer}/tiles/WebMercatorQuad/{path_of(served, -6)}.png",
            f"/wms?{wms}&LAYERS={layer}&BBOX={box}",
        ]
        pictures += [f"/collections/{layer}/map?width=64", f"/{layer}/preview.png?max_size=64"]
        pictures += [f"/{layer}/preview.{end}?max_size=64" for end in ("jpg", "webp", "tif")]
        pictures += [f"/{layer}/bbox/{box}/60x40.png", f"/{layer}/view.tif?bbox={box}"]
        for path in pictures:
            answer = served.get(path)
            assert answer.status_code == 200, answer.text
            found = exif(answer.content, tmp_path).get("XMP-iptcExt:DigitalSourceType")
            assert found == (SOURCE_TYPE if layer in ("restored", "difference") else None), path
        with zipfile.ZipFile(io.BytesIO(served.get(f"/{layer}/view.zip?bbox={box}").content)) as saved:
            found = exif(saved.read("view.png"), tmp_path).get("XMP-iptcExt:DigitalSourceType")
        assert found == (SOURCE_TYPE if layer in ("restored", "difference") else None)


def test_the_setting_turns_it_off_and_is_part_of_the_key(
    make_service: Callable[..., TileService], tmp_path: Path
) -> None:
    marked, plain = make_service(), make_service(ai_mark=False)
    request = TileRequest("restored", "WebMercatorQuad", middle_tile(marked), "png")
    assert SOURCE_TYPE.encode() in marked.tile(request).body
    assert SOURCE_TYPE.encode() not in plain.tile(request).body
    assert with_xmp(plain.tile(request).body, "png", marked.mark("restored")) == marked.tile(request).body
    assert marked.key(request) != plain.key(request)
    assert marked.identity.seeded_content != plain.identity.seeded_content
    with TestClient(create_app(plain.settings, plain)) as client:
        assert client.get("/tilejson.json").status_code == 200


@pytest.mark.slow
def test_archives_say_it_in_metadata_and_in_each_tile(seeded: SeededPhoto) -> None:
    with sqlite3.connect(seeded.folder / "a.mbtiles") as archive:
        metadata = dict(archive.execute("SELECT name, value FROM metadata"))
        bodies = [body for (body,) in archive.execute("SELECT tile_data FROM tiles")]
    assert metadata["digital_source_type"] == SOURCE_TYPE
    assert bodies
    with closing(seeded.archive("a.pmtiles")) as tiles:
        assert tiles.metadata["digital_source_type"] == SOURCE_TYPE
    assert SOURCE_TYPE in (seeded.folder / "folder" / "tilejson.json").read_text()
    assert all(SOURCE_TYPE.encode() in body for body in bodies)


@pytest.mark.slow
@needs_exiftool
def test_exports(restored: Path, holed: Path, tiny_weights: Path, tmp_path: Path) -> None:
    assert exif(restored.read_bytes(), tmp_path)["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
    chips = tmp_path / "chips"
    assert restore(holed, chips, tiny_weights, "--chips", "200").exit_code == 0
    pictures = list(chips.glob("*.png"))
    assert pictures
    for path in pictures:
        assert exif(path.read_bytes(), tmp_path)["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
    plain = tmp_path / "plain.tif"
    assert restore(holed, plain, tiny_weights, "--no-ai-mark").exit_code == 0
    assert SOURCE_TYPE.encode() not in plain.read_bytes()


def test_it_takes_no_time() -> None:
    picture = raster((256, 256), full=True)
    body = encode(picture, "webp")
    started = time.perf_counter()
    encode(picture, "webp")
    encoding_s = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(100):
        with_xmp(body, "webp", PACKET)
    assert (time.perf_counter() - started) / 100 < encoding_s / 10


def test_settings_know_it() -> None:
    assert Settings(source="x.tif").ai_mark
    assert not Settings(source="x.tif", ai_mark=False).ai_mark
