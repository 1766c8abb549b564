"""Replaced files are noticed, and a mosaic's many files are not looked at for every read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tileserver.errors import SourceChangedError
from tileserver.photo import file_watch, source
from tileserver.photo.file_watch import LOOK_S, MANY_FILES, FileWatch
from tileserver.photo.fingerprint import file_states
from tileserver.photo.scale import OutputScale
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms


@pytest.mark.parametrize("count", [1, MANY_FILES, MANY_FILES + 1])
def test_changes_are_noticed(tmp_path: Path, count: int) -> None:
    files = tuple(str(tmp_path / f"{number}.tif") for number in range(count))
    for file in files:
        Path(file).write_text("sheet")
    now = 0.0
    watch = FileWatch(files, file_states(files), lambda: now)
    assert not watch.is_changed
    Path(files[-1]).write_text("another sheet")
    now += LOOK_S
    assert watch.is_changed


def test_many_files_are_looked_at_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(str(tmp_path / f"{number}.tif") for number in range(1000))
    looks: list[int] = []
    monkeypatch.setattr(file_watch, "file_states", lambda them: looks.append(1) or file_states(them))
    now = 0.0
    watch = FileWatch(files, file_states(files), lambda: now)
    for _ in range(500):
        now += LOOK_S / 100
        assert not watch.is_changed
    assert len(looks) <= 6


def test_a_photograph_replaced_during_a_read_is_not_served(
    make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Source.open(str(make_photo()))
    view = View.of_tms(opened, supported_tms().get(WEB_MERCATOR), OutputScale(0.6))
    zoom = view.pyramid.native_zoom
    window = view.pyramid.grid.covering(zoom, view.pyramid.extent)
    warp = source.warp

    def replaced_meanwhile(*arguments: Any) -> Any:
        make_photo(seed=9)
        return warp(*arguments)

    monkeypatch.setattr(source, "warp", replaced_meanwhile)
    with pytest.raises(SourceChangedError):
        view.read(zoom, window)
    opened.close()


def test_a_photograph_replaced_while_it_is_opened_is_not_served(
    make_photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, describe = make_photo(), source._describe

    def replaced_meanwhile(*arguments: Any) -> Any:
        described = describe(*arguments)
        make_photo(seed=9)
        return described

    monkeypatch.setattr(source, "_describe", replaced_meanwhile)
    opened = Source.open(str(path))
    assert opened.is_changed
    opened.close()
