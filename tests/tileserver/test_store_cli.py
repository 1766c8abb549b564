"""`orthosharp cache info` and `clean`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_calls import call, refused
from conftest import middle_tile
from seeded_photo import SeededPhoto

from tileserver.service import TileRequest, TileService


def test_what_holds_no_store_is_refused(seeded: SeededPhoto) -> None:
    folder = seeded.folder
    refused(call("cache", "info", folder / "nothing"), "does not exist", "--store")
    refused(call("cache", "info", folder / "a.pmtiles"), "is an archive")
    refused(call("cache", "clean", folder / "a.mbtiles", seeded.source), "is an archive")
    refused(call("cache", "info", folder / "folder"), "made by orthosharp seed")
    refused(call("cache", "info", seeded.source), "cannot be used as a folder")


def test_clean_keeps_what_any_map_shows(
    make_service: Callable[..., TileService], photo: Path, new_photo: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    store, config = tmp_path / "tiles", tmp_path / "orthosharp.toml"
    for settings in ({}, {"source": str(new_photo), "colours": "photo"}, {"contrast": 1.5}):
        service = make_service(store=str(store), **settings)
        service.tile(TileRequest("restored", "WebMercatorQuad", middle_tile(service), "png"))
        service.shared.close()
    tables = [
        f'[maps.{name}]\nsource = "{source}"\nweights = "{tiny_weights}"\n{more}\n'
        for name, source, more in (("one", photo, ""), ("two", new_photo, 'colours = "photo"'))
    ]
    config.write_text('runtime = "openvino"\nstore = "tiles"\n' + "".join(tables))
    refused(call("cache", "clean", store, photo, "--config", config), "mutually exclusive")
    would = call("cache", "clean", store, "--config", config, "--dry-run").stdout
    assert len(list(store.iterdir())) == 3
    assert call("cache", "clean", store, "--config", config).stdout.split()[0] == would.split()[0] != "0"
    assert "2 tiles" in call("cache", "info", store).stdout
    assert call("cache", "clean", store, "--config", config).stdout == "0 bytes freed\n"


def test_clean_keeps_what_serve_shows_with_the_same_options(
    make_service: Callable[..., TileService], photo: Path, new_photo: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    store = tmp_path / "tiles"
    service = make_service(store=str(store), tone="old", contrast=1.5, rescale=(10, 200), new=str(new_photo))
    service.tile(TileRequest("restored", "WebMercatorQuad", middle_tile(service), "png"))
    service.shared.close()
    line = [
        "cache",
        "clean",
        store,
        photo,
        "--weights",
        tiny_weights,
        "--colours",
        "photo",
    ]
    line += ["--contrast", "1.5", "--rescale", "10,200", "--new", new_photo]
    assert call(*line).stdout == "0 bytes freed\n"
    for option in ("--new-bands=1", "--contrast=1", "--colours=corrected", "--rescale=10,201"):
        assert call(*line, option, "--dry-run").stdout.split()[0] != "0", option
    assert "1 tiles" in call("cache", "info", store).stdout


def test_clean_keeps_what_another_machine_made(
    make_service: Callable[..., TileService],
    photo: Path,
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another runtime, device, version of a library and copy of the file, and a network that does not run here."""
    store, copy = tmp_path / "tiles", tmp_path / "old.tif"
    shutil.copyfile(photo, copy)
    os.utime(copy, (1, 1))
    for source, runtime in ((photo, "torch"), (copy, "openvino")):
        service = make_service(source=str(source), store=str(store), runtime=runtime)
        service.tile(TileRequest("restored", "WebMercatorQuad", middle_tile(service), "png"))
        service.shared.close()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "9")
    monkeypatch.setattr("tileserver.render.recipe.version", lambda _: "9")
    monkeypatch.setenv("ORTHOSHARP_DEVICE", "mps")
    line = ["cache", "clean", store, photo, "--weights", tiny_weights]
    assert call(*line).stdout == "0 bytes freed\n"
    assert "2 tiles" in call("cache", "info", store).stdout
    assert call(*line, "--contrast", "1.5").stdout != "0 bytes freed\n"
    assert "0 tiles" in call("cache", "info", store).stdout
