"""What the person at the terminal sees when something is wrong: a reason, no traceback, exit code 2."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from command_calls import call
from command_calls import refused as refused_at_all

from tileserver.cli import serve as cli
from tileserver.service import TileService

MakePhoto = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """These calls must fail before anything is served."""
    for name in ("ORTHOSHARP_SOURCE", "ORTHOSHARP_NEW"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cli.uvicorn, "Server", lambda *_: pytest.fail("a server was started"))


def refused(result: Result, *words: str) -> None:
    refused_at_all(result, *words)
    assert len(result.stderr.splitlines()) <= 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crs": None}, ("in which CRS", "--crs EPSG:CODE")),
        ({"gsd_m": 10.0}, ("10 m per pixel", "orthosharp-train")),
        ({"gsd_m": 0.05}, ("0.05 m per pixel", "finer")),
    ],
)
def test_photographs_that_cannot_be_served(
    make_photo: MakePhoto, tiny_weights: Path, changes: dict[str, object], words: tuple[str, ...]
) -> None:
    refused(
        call("serve", make_photo(**changes), "--weights", tiny_weights, "--port", 0, "--runtime", "openvino"),
        *words,
    )


def test_files_that_are_none(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "letter.tif").write_text("Dear server")
    for name, way_out in (("letter.tif", "gdalinfo"), ("nothing.tif", "no such file: check its name")):
        refused(call("serve", tmp_path / name, "--weights", tiny_weights, "--port", 0), name, way_out)
        refused(call("info", tmp_path / name), name)


def test_weights_that_are_none(photo: Path, tmp_path: Path, tiny_weights: Path) -> None:
    refused(call("serve", photo, "--weights", tmp_path / "none.safetensors", "--port", 0), "none.safetensors")
    damaged = bytearray(tiny_weights.read_bytes())
    damaged[-5] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(damaged)
    refused(call("serve", photo, "--weights", tmp_path / "damaged.safetensors", "--port", 0), "digest")


def test_options_that_make_no_sense(photo: Path) -> None:
    refused(call("serve"), "SOURCE", "--demo")
    refused(call("serve", photo, "--bands", "1,2"), "--bands", "4,1,2")
    refused(call("serve", photo, "--rescale", "5,1"), "--rescale", "0,4095")
    refused(call("serve", photo, "--port", 99999), "--port")
    refused(call("serve", photo, "--runtime", "openvino", "--device", "cuda", "--port", 0), "--")


def test_a_port_that_is_taken(photo: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused(call("serve", photo, "--port", port), str(port), "--port 0")


def test_info_tells_zooms_and_warns(make_photo: MakePhoto, tiny_weights: Path) -> None:
    result = call("info", make_photo(overviews=()), "--weights", tiny_weights)
    assert result.exit_code == 0, result.output
    assert "0.600 m" in result.stdout
    assert "restored at 19" in result.stdout
    assert "Test Survey <1998>" in result.stdout
    assert "gdaladdo -r average" in result.stderr


def test_an_empty_host(photo: Path) -> None:
    refused(call("serve", photo, "--host", "", "--port", 0), "--host", "127.0.0.1")


def test_info_takes_bands_and_range(make_photo: MakePhoto, tiny_weights: Path) -> None:
    path = make_photo(dtype="float32", bands=4)
    result = call("info", path, "--weights", tiny_weights, "--bands", "4,1,2", "--rescale", "0,65535")
    assert result.exit_code == 0, result.output
    assert "bands [4, 1, 2]" in result.stdout


def test_a_later_photograph_of_other_ground_is_warned_of(
    make_photo: MakePhoto, make_service: Callable[..., TileService], capsys: pytest.CaptureFixture[str]
) -> None:
    far = make_photo("far", origin=(650_000.0, 4_695_000.0))
    cli.report(make_service(new=str(far)))
    assert "does not overlap" in capsys.readouterr().err
    cli.report(make_service(new=str(make_photo("near"))))
    assert "does not overlap" not in capsys.readouterr().err
