"""The card of `orthosharp info`, its warnings with codes, and that every command it suggests runs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
from command_calls import call, restore, seed
from conftest import Photo, clean_environment, write_photo, write_tiny_weights
from damage import block, overwrite
from range_server import served_files
from rasterio.enums import ColorInterp
from rasterio.warp import transform
from sheets_of_ground import BLUE, GREEN, RD_WITHOUT_DATUM, RED, place, write_sheet, write_vrt
from starlette.testclient import TestClient

from tileserver.cli import serve as cli
from tileserver.photo.notice import code_of, command_of
from tileserver.photo.source import Source
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.web.app import create_app

MakePhoto = Callable[..., Path]


def card(path: object, weights: Path, *options: object) -> dict[str, Any]:
    result = call("info", path, "--weights", weights, "--runtime", "openvino", "--json", *options)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_card_tells_what_the_network_will_do(photo: Path, tiny_weights: Path) -> None:
    result = call("info", photo, "--weights", tiny_weights, "--runtime", "openvino")
    assert result.exit_code == 0, result.output
    for words in (
        "640 x 512 px of uint8",
        "0.600 m",
        "EPSG:32618 (WGS 84 / UTM zone 18N)",
        "exact",
        "0 is black, 255 is white",
        "[2, 4, 8]",
        "Test Survey <1998>",
        "restored at 19",
        "on this machine",
    ):
        assert words in result.stdout
    found = card(photo, tiny_weights)
    assert found["seed"]["tiles"] > 20
    assert found["seed"]["bytes"] > 1000
    assert found["seed"]["seconds"] > 0
    assert found["warnings"] == []
    assert "seed" not in card(photo, tiny_weights, "--no-estimate")


def test_the_card_of_the_bundled_network_tells_the_ratio(photo: Path) -> None:
    result = call("info", photo, "--no-estimate", "--json")
    found = json.loads(result.stdout)
    assert found["ratio"] == pytest.approx(found["resolution_m"] / found["restored_pixel_size_m"])
    assert "colours" in found


@pytest.mark.slow
def test_the_estimate_is_that_of_seed(photo: Path, tiny_weights: Path, tmp_path: Path) -> None:
    options = ("--weights", tiny_weights, "--runtime", "openvino", "--dry-run", "--json")
    dry = json.loads(call("seed", photo, tmp_path / "x.mbtiles", *options).stdout)
    found = card(photo, tiny_weights)["seed"]
    assert found["tiles"] == sum(dry["tiles"].values())
    assert found["bytes"] == dry["bytes"]


def test_every_warning_has_a_code(make_photo: MakePhoto, tiny_weights: Path) -> None:
    path = make_photo(crs="EPSG:26718", bands=4, overviews=())
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (*file.colorinterp[:3], ColorInterp.alpha)
    found = card(path, tiny_weights, "--no-estimate")
    assert {one["code"] for one in found["warnings"]} == {
        "position-inaccurate",
        "no-overviews",
        "image-tagged-as-alpha",
    }
    assert all(one["text"] and one["command"] for one in found["warnings"])
    assert found["position"]["accuracy_m"] == 10
    assert "us_noaa_conus.tif" in found["position"]["missing_grids"][0]


def test_weights_that_were_not_exported_are_warned_of(
    photo: Path, tmp_path: Path, make_service: Callable[..., TileService], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_tiny_weights(tmp_path / "fresh.safetensors", training={})
    (warning,) = card(photo, weights, "--no-estimate")["warnings"]
    assert warning["code"] == "not-exported"
    cli.report(make_service(weights=weights), "y1998")
    assert "warning: y1998: the weights of tiny were not exported" in capsys.readouterr().err


# Each suggested command is run as it is printed, in a shell; those of GDAL in test_mending_commands.py.


def warning_of(path: object, code: str) -> str:
    (found,) = [one for one in Source.open(str(path)).info.warnings if code_of(one) == code]
    return found


def run(command: str, folder: Path, **variables: str) -> None:
    scripts = str(Path(sys.executable).parent)
    environment = {**clean_environment(), **variables}
    environment["PATH"] = os.pathsep.join([scripts, environment["PATH"]])
    made = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stdout + made.stderr


def test_the_command_that_gets_a_grid_runs(make_photo: MakePhoto, tmp_path: Path) -> None:
    """From a mirror of PROJ's files on this machine, which the environment names."""
    path = make_photo(
        crs="EPSG:31467", origin=(3_400_000.0, 5_900_000.0), gsd_m=0.5, width=96, height=64, overviews=()
    )
    command = command_of(warning_of(path, "position-inaccurate"))
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    name = "de_adv_BETA2007.tif"
    (mirror / name).write_bytes(b"a grid")
    properties = {
        "name": name,
        "source_id": "de_adv",
        "area_of_use": "Germany",
        "file_size": 6,
        "sha256sum": hashlib.sha256(b"a grid").hexdigest(),
        "url": name,
        "type": "HORIZONTAL_OFFSET",
    }
    features = [{"type": "Feature", "properties": properties, "geometry": None}]
    (mirror / "files.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with served_files(mirror) as url:
        run(command, tmp_path, PROJ_NETWORK_ENDPOINT=url, XDG_DATA_HOME=str(tmp_path / "home"))
    assert (tmp_path / "home" / "proj" / name).read_bytes() == b"a grid"


def test_the_command_that_names_a_crs_runs(make_photo: MakePhoto, tmp_path: Path) -> None:
    path = make_photo(
        crs=RD_WITHOUT_DATUM, origin=(154_925.0, 463_075.0), gsd_m=0.5, width=96, height=64, overviews=()
    )
    arguments = shlex.split(command_of(warning_of(path, "position-unknown")))
    assert arguments[0] == "orthosharp"
    result = call(*arguments[1:], "--no-estimate")
    assert result.exit_code == 0, result.output
    assert "warning" not in result.stderr


def test_the_command_for_a_coarse_vrt_runs(tmp_path: Path, tiny_weights: Path) -> None:
    for name, column, colour in (("a", 0, RED), ("b", 128, GREEN), ("c", 300, BLUE)):
        write_sheet(tmp_path / f"{name}.tif", column, 0, colour)
    path = write_vrt(tmp_path / "m.vrt", ["a", "b", "c"], scale=0.5)
    arguments = shlex.split(command_of(warning_of(path, "coarser-than-sheets")))
    result = call(*arguments[1:], "--weights", tiny_weights, "--no-estimate")
    assert result.exit_code == 0, result.output
    assert "0.600 m" in result.stdout


# Messages of several maps, and of damaged photographs.


def test_warnings_name_the_map(
    make_photo: MakePhoto, make_service: Callable[..., TileService], capsys: pytest.CaptureFixture[str]
) -> None:
    service = make_service(source=str(make_photo(overviews=())))
    cli.report(service, "y1998")
    assert capsys.readouterr().err.startswith("warning: y1998: old: the photograph has no overviews")
    cli.report(service)
    assert capsys.readouterr().err.startswith("warning: old: the photograph has no overviews")


@pytest.mark.parametrize("kind", ["file", "mosaic"])
def test_a_damaged_tile_is_one_line_with_file_block_and_address(
    tmp_path: Path, tiny_weights: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = write_photo(tmp_path / "damaged.tif", Photo(overviews=()))
    offset, size = block(path, 2, 2)
    overwrite(path, offset, b"\xff" * size)
    source = path
    if kind == "mosaic":
        write_photo(tmp_path / "sound.tif", Photo(origin=(620_384.0, 4_695_000.0), overviews=()))
        source = tmp_path
    settings = Settings(source=str(source), weights=tiny_weights, runtime="openvino", colours="photo")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        caplog.clear()
        rasterio_log = logging.getLogger("rasterio")
        rasterio_log.setLevel(logging.CRITICAL)
        try:
            view = service.rasters.view("old", "WebMercatorQuad")
            tile = tile_at(view, 2.5 * 128, 2.5 * 128)
            answer = client.get(f"/old/tiles/WebMercatorQuad/{tile}.png")
        finally:
            rasterio_log.setLevel(logging.NOTSET)
    assert answer.status_code == 502
    assert "damaged.tif" not in answer.text
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert record.exc_info is None
    text = record.getMessage()
    assert "\n" not in text
    for words in ("damaged.tif", "block 2/2", f"/old/tiles/WebMercatorQuad/{tile}.png"):
        assert words in text


def tile_at(view: Any, column: float, row: float) -> str:
    xs, ys = transform("EPSG:4326", "EPSG:3857", *([value] for value in place(column, row)))[:2]
    zoom = view.pyramid.native_zoom
    grid = view.pyramid.grid
    span = grid.cell(zoom) * 256
    return f"{zoom}/{int((xs[0] - grid.left) // span)}/{int((grid.top - ys[0]) // span)}"


def test_failures_of_jobs_name_file_and_block(tmp_path: Path, tiny_weights: Path) -> None:
    path = write_photo(tmp_path / "damaged.tif", Photo(overviews=(2, 4)))
    offset, size = block(path, 2, 2)
    overwrite(path, offset, b"\xff" * size)
    result = restore(path, tmp_path / "x.tif", tiny_weights)
    assert result.exit_code == 1
    failures = (tmp_path / "x.tif.failures.txt").read_text()
    assert "damaged.tif, band 1, block 2/2" in failures


@pytest.mark.slow
def test_seed_and_restore_warn(make_photo: MakePhoto, tiny_weights: Path, tmp_path: Path) -> None:
    path = make_photo(overviews=(), width=520, height=64)
    for result in (
        restore(path, tmp_path / "x.tif", tiny_weights),
        seed(path, tmp_path / "x.mbtiles", tiny_weights),
    ):
        assert result.exit_code == 0, result.output
        assert "warning: old: the photograph has no overviews" in result.stderr
