"""orthosharp.toml: several maps, and every mistake at once with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tileserver.cli.config_file import read_config
from tileserver.errors import SettingsError


def written(folder: Path, text: str) -> Path:
    path = folder / "orthosharp.toml"
    path.write_text(text)
    return path


def test_maps_share_the_servers_settings_and_the_default_comes_first(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'default = "y2010"\nport = 9000\ncache_bytes = 1000000\n\n'
        '[maps.y1998]\nsource = "1998.tif"\ncredit = "City"\nbands = [4, 1, 2]\n'
        "bounds = [-73.6, 42.3, -73.5, 42.4]\nzooms = [12, 19]\n\n"
        '[maps.y2010]\nsource = "/data/2010.tif"\nnew = "/vsis3/bucket/2017.tif"\ncolours = "photo"\n',
    )
    maps = read_config(path, {"port": 9001})
    assert list(maps) == ["y2010", "y1998"]
    assert maps["y1998"].source == str(tmp_path / "1998.tif")
    assert (maps["y1998"].credit, maps["y1998"].bands, maps["y1998"].name) == ("City", (4, 1, 2), "y1998")
    assert (maps["y2010"].source, maps["y2010"].new) == ("/data/2010.tif", "/vsis3/bucket/2017.tif")
    assert (maps["y2010"].colours, maps["y1998"].colours) == ("photo", "corrected")
    assert (maps["y1998"].bounds, maps["y1998"].zooms) == ((-73.6, 42.3, -73.5, 42.4), (12, 19))
    assert {(one.port, one.cache_bytes) for one in maps.values()} == {(9001, 1_000_000)}


def test_every_mistake_is_listed_once_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'default = "nothing"\n'  # 1
        "port = 99999\n"  # 2
        "colour = 3\n"  # 3
        'credit = "me"\n'  # 4
        "[maps.a]\n"  # 5
        'source = "a.tif"\n'  # 6
        "bands = [1, 2]\n"  # 7
        "port = 8000\n"  # 8
        "[maps.restored]\n"  # 9
        "contrast = 9.0\n"  # 10
        "bounds = [10, 10, 5, 20]\n"  # 11
        "zooms = [19, 12]\n",  # 12
    )
    with pytest.raises(SettingsError) as failed:
        read_config(path, {})
    lines = str(failed.value).splitlines()[1:]
    numbers = sorted(int(line.split(":")[1]) for line in lines)
    assert numbers == [1, 2, 3, 4, 7, 8, 9, 9, 10, 11, 12], lines


def test_a_default_that_is_not_a_name_is_a_mistake_too(tmp_path: Path) -> None:
    path = written(tmp_path, 'default = ["a"]\n[maps.a]\nsource = "a.tif"\n')
    with pytest.raises(SettingsError, match=r"toml:1: default is not the name of a map: use one of a"):
        read_config(path, {})


@pytest.mark.parametrize(
    ("text", "word"),
    [("a = = 1", "line 1"), ("", "maps.NAME"), ("maps = 3", "maps.NAME"), ("[maps]\na = 3", r"\[maps.a\]")],
)
def test_files_that_are_none(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        read_config(written(tmp_path, text), {})
    with pytest.raises(SettingsError, match="--config"):
        read_config(tmp_path / "missing.toml", {})


def test_the_name_of_a_bundled_network_is_no_file_of_the_folder(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[maps.a]\nsource = "a.tif"\nweights = "small"\n[maps.b]\nsource = "b.tif"\nweights = "b.st"\n',
    )
    found = read_config(path, {})
    assert found["a"].weights == Path("small")
    assert found["b"].weights == tmp_path / "b.st"
