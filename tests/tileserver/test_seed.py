"""`orthosharp seed` from its options to the last byte, in this process."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archive_contents import contents
from command_calls import refused, seed
from conftest import Photo, write_photo
from PIL import Image
from seeded_photo import OPTIONS, OUTPUTS, SeededPhoto

from tileserver.cache.archive_store import ArchiveTiles
from tileserver.errors import ArchiveError
from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress


def pixels(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGBA"), np.float64)


def test_every_output_holds_the_same_tiles(seeded: SeededPhoto) -> None:
    mbtiles, pmtiles, folder = (contents(seeded.folder / name) for name in OUTPUTS)
    assert mbtiles == pmtiles == folder
    assert {place[0] for place in mbtiles} == set(range(12, 20))
    for name in OUTPUTS:
        archive = seeded.archive(name)
        assert all(archive.get(*place) == body for place, body in mbtiles.items())
        archive.close()


def test_tiles_of_metatiles_have_the_bytes_of_the_server(seeded: SeededPhoto) -> None:
    """At every zoom that metatiles fill; the zooms above them are the next test's."""
    reach = seeded.service.rasters.view("restored", "WebMercatorQuad").pyramid.min_metatile_zoom
    checked = 0
    for (z, x, y), body in contents(seeded.folder / "a.pmtiles").items():
        if z >= reach:
            request = TileRequest("restored", "WebMercatorQuad", TileAddress(z, x, y), "png")
            assert seeded.service.tile(request).body == body
            checked += 1
    assert checked > 40


def test_tiles_above_are_averages_of_restored_tiles_in_the_tone_of_the_server(seeded: SeededPhoto) -> None:
    reach = seeded.service.rasters.view("restored", "WebMercatorQuad").pyramid.min_metatile_zoom
    tiles = {place: pixels(body) for place, body in contents(seeded.folder / "a.mbtiles").items()}
    for (z, x, y), picture in tiles.items():
        if z >= reach:
            continue
        fine = np.zeros((512, 512, 4))
        for across in (0, 1):
            for down in (0, 1):
                child = tiles.get((z + 1, 2 * x + across, 2 * y + down))
                if child is not None:
                    fine[256 * down : 256 * down + 256, 256 * across : 256 * across + 256] = child
        valid = (picture[..., 3] == 255) & (fine[..., 3].reshape(256, 2, 256, 2).min(axis=(1, 3)) == 255)
        average = fine[..., :3].reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
        if valid.any():
            # Rounded once per zoom.
            assert np.abs(average[valid] - picture[..., :3][valid]).max() <= 0.75
        request = TileRequest("restored", "WebMercatorQuad", TileAddress(z, x, y), "png")
        served = pixels(seeded.service.tile(request).body)
        both = valid & (served[..., 3] == 255)
        if both.sum() > 500:
            gap = np.abs(served[..., :3][both].mean(axis=0) - picture[..., :3][both].mean(axis=0))
            assert gap.max() < 3, f"zoom {z}"


def test_what_archives_say_about_themselves(seeded: SeededPhoto) -> None:
    digest = seeded.service.restorer.digest
    for name in OUTPUTS:
        with closing(seeded.archive(name)) as archive:
            metadata = archive.metadata
        assert "Test Survey &lt;1998&gt;" in metadata["attribution"]
        assert f"AI-restored (tiny, {digest[:12]})" in metadata["attribution"]
        assert metadata["credit"] == "Test Survey <1998>"
        assert (metadata["model"], metadata["model_digest"]) == ("tiny", digest)
        assert str(seeded.folder) not in json.dumps(metadata), "an archive to give away names a local path"
    tilejson = json.loads((seeded.folder / "folder" / "tilejson.json").read_text())
    assert tilejson["tiles"] == ["{z}/{x}/{y}.png"]
    assert tilejson["tileSize"] == 256
    assert (tilejson["minzoom"], tilejson["maxzoom"]) == (12, 19)
    assert tilejson["bounds"] == list(seeded.service.old.info.bounds_lonlat)


def test_a_server_takes_tiles_from_archives_of_its_own_and_no_others(
    seeded: SeededPhoto, photo: Path, new_photo: Path, tiny_weights: Path
) -> None:
    """One with a later photograph too, which has no part in restored tiles."""
    whole = contents(seeded.folder / "a.mbtiles")
    settings = {"source": str(seeded.source), "weights": tiny_weights, "runtime": "openvino"}
    own = TileService(Settings(new=str(new_photo), **settings))  # type: ignore[arg-type]
    for name in OUTPUTS:
        store = ArchiveTiles(seeded.archive(name))
        assert store.bind(own.identity) != own.content
        for (z, x, y), body in whole.items():
            request = TileRequest("restored", "WebMercatorQuad", TileAddress(z, x, y), "png")
            assert store.get(own.key(request)) == body
            for other in (replace(request, extension="webp"), replace(request, layer="old")):
                assert store.get(own.key(other)) is None
        store.close()
    own.close()
    other_service = TileService(Settings(**(settings | {"source": str(photo)})))  # type: ignore[arg-type]
    with (
        closing(ArchiveTiles(seeded.archive("a.mbtiles"))) as store,
        pytest.raises(ArchiveError, match="fingerprint"),
    ):
        store.bind(other_service.identity)
    other_service.close()


def test_empty_tiles_are_stored_once(seeded: SeededPhoto) -> None:
    with closing(sqlite3.connect(seeded.folder / "a.mbtiles")) as connection:
        tiles, pictures = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("map", "images")
        )
    assert pictures == len(set(contents(seeded.folder / "a.mbtiles").values())) < tiles


def test_nothing_is_left_beside_a_finished_output(seeded: SeededPhoto) -> None:
    assert {path.name for path in seeded.folder.iterdir()} == {*OUTPUTS, "old.tif"}
    assert not list((seeded.folder / "folder").glob(".*"))


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_finished_output_is_not_made_twice(seeded: SeededPhoto, tiny_weights: Path, name: str) -> None:
    before = (seeded.folder / name).stat().st_mtime_ns
    result = seed(seeded.source, seeded.folder / name, tiny_weights, *OPTIONS)
    assert result.exit_code == 0
    assert "nothing to do" in result.stderr
    assert "stays" not in result.stderr
    other = seed(seeded.source, seeded.folder / name, tiny_weights, *OPTIONS, "--credit", "Someone else")
    assert other.exit_code == 0
    assert "credit stays" in other.stderr
    assert "'Someone else'" in other.stderr
    assert (seeded.folder / name).stat().st_mtime_ns == before


def test_an_area_gets_the_same_bytes_and_overwriting_leaves_nothing_old(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path
) -> None:
    whole = contents(seeded.folder / "folder")
    west, south, east, north = seeded.service.old.info.bounds_lonlat
    box = f"{west},{south},{(west + east) / 2},{(south + north) / 2}"
    shutil.copytree(seeded.folder / "folder", tmp_path / "folder")
    options = ("--bbox", box, "--format", "png", "--zooms", "17-19")
    refused(seed(seeded.source, tmp_path / "folder", tiny_weights, *options), "area: whole")
    result = seed(seeded.source, tmp_path / "folder", tiny_weights, *options, "--overwrite")
    assert result.exit_code == 0, result.output
    part = contents(tmp_path / "folder")
    assert 0 < len(part) < len(whole)
    assert {z for z, _, _ in part} == {17, 18, 19}
    assert all(whole[place] == body for place, body in part.items())


def test_low_zooms_of_an_area_are_the_servers_where_not_all_below_is_restored(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path
) -> None:
    west, south, east, north = seeded.service.old.info.bounds_lonlat
    box = f"{west},{south},{west + (east - west) / 20},{south + (north - south) / 20}"
    path = tmp_path / "a.pmtiles"
    result = seed(seeded.source, path, tiny_weights, "--bbox", box, "--format", "png", "--zooms", "12-19")
    assert result.exit_code == 0, result.output
    low = TileAddress(12, *next((x, y) for z, x, y in contents(path) if z == 12))
    request = TileRequest("restored", "WebMercatorQuad", low, "png")
    assert contents(path)[low.z, low.x, low.y] == seeded.service.tile(request).body


def test_scale_2_is_the_picture_of_the_next_zoom(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.mbtiles"
    result = seed(seeded.source, path, tiny_weights, "--scale", "2", "--zooms", "14-18", "--format", "png")
    assert result.exit_code == 0, result.output
    whole = contents(seeded.folder / "a.mbtiles")
    tiles = contents(path)
    for (z, x, y), body in tiles.items():
        picture = pixels(body)
        assert picture.shape == (512, 512, 4)
        child = whole.get((z + 1, 2 * x + 1, 2 * y))
        if child is not None:
            np.testing.assert_array_equal(picture[:256, 256:], pixels(child))
    assert {place[0] for place in tiles} == {14, 15, 16, 17, 18}


def test_jpeg_and_skip_empty_leave_out_what_shows_nothing(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path
) -> None:
    whole = contents(seeded.folder / "a.mbtiles")
    shown = {place for place, body in whole.items() if pixels(body)[..., 3].any() and place[0] >= 17}
    assert len(shown) < sum(place[0] >= 17 for place in whole)
    for number, options in enumerate((("--format", "jpg"), ("--format", "png", "--skip-empty"))):
        path = tmp_path / f"{number}.mbtiles"
        result = seed(seeded.source, path, tiny_weights, "--zooms", "17-19", *options)
        assert result.exit_code == 0, result.output
        assert set(contents(path)) == shown


def test_finer_zooms_than_the_native_one(seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path) -> None:
    west, south, east, north = seeded.service.old.info.bounds_lonlat
    lon, lat = (west + 2 * east) / 3, (south + north) / 2
    box = f"{lon},{lat},{lon + 1e-4},{lat + 1e-4}"
    path = tmp_path / "a.pmtiles"
    options = ("--bbox", box, "--format", "png", "--zooms", "20-21")
    assert seed(seeded.source, path, tiny_weights, *options).exit_code == 0
    tiles = contents(path)
    assert {z for z, _, _ in tiles} == {20, 21}
    for (z, x, y), body in tiles.items():
        request = TileRequest("restored", "WebMercatorQuad", TileAddress(z, x, y), "png")
        assert seeded.service.tile(request).body == body


def test_quality_and_another_tile_matrix_set(seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    for path, quality in ((small, 20), (large, 95)):
        options = ("--tms", "WorldCRS84Quad", "--quality", quality, "--zooms", "17-17")
        assert seed(seeded.source, path, tiny_weights, *options).exit_code == 0
    assert set(contents(small)) == set(contents(large))
    assert sum(map(len, contents(small).values())) < 0.6 * sum(map(len, contents(large).values()))


def test_a_dry_run_says_what_comes_and_writes_nothing(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path
) -> None:
    options = (*OPTIONS, "--dry-run", "--json")
    result = seed(seeded.source, tmp_path / "a.mbtiles", tiny_weights, *options)
    assert result.exit_code == 0, result.output
    assert not list(tmp_path.iterdir())
    found = json.loads(result.stdout)
    whole = contents(seeded.folder / "a.mbtiles")
    assert sum(found["tiles"].values()) == len(whole)
    assert 0.5 < found["bytes"] / sum(map(len, whole.values())) < 2


@pytest.mark.slow
def test_changed_only_and_refresh_before(seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path) -> None:
    source = write_photo(tmp_path / "old.tif", Photo())
    path, options = tmp_path / "folder", ("--zooms", "17-19", "--format", "png")
    assert seed(source, path, tiny_weights, *options).exit_code == 0
    before = {file: file.stat().st_mtime_ns for file in path.glob("*/*/*.png")}
    assert "nothing to do" in seed(source, path, tiny_weights, *options, "--changed-only").stderr
    assert (
        "nothing to do" in seed(source, path, tiny_weights, *options, "--refresh-before", "2001-01-01").stderr
    )
    # The same pixels in a file of another date: everything is made again, and nothing is written again.
    write_photo(source, Photo())
    refused(seed(source, path, tiny_weights, *options), "fingerprint")
    assert seed(source, path, tiny_weights, *options, "--changed-only").exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in path.glob("*/*/*.png")} == before
    result = seed(source, path, tiny_weights, *options, "--refresh-before", "2999-01-01")
    assert result.exit_code == 0, result.output
    assert all(file.stat().st_mtime_ns > date for file, date in before.items())
