"""Files that outlast a kill: their temporary names are known, and nothing half is left under a final one."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pytest

from sr_model.atomic import is_temporary, write_atomic
from tileserver.jobs.disk import link_atomic, part_of, publish
from tileserver.jobs.restore.chips import has_foreign_files


@pytest.mark.parametrize("name", ["12.png", "tilejson.json", ".hidden", "old_00000_00001.png.aux.xml"])
def test_temporary_names_of_whole_files_are_known(tmp_path: Path, name: str) -> None:
    seen: list[str] = []

    def write(file: BinaryIO) -> None:
        seen.extend(path.name for path in tmp_path.iterdir())
        file.write(b"whole")

    write_atomic(tmp_path / name, write)
    assert len(seen) == 1
    assert is_temporary(seen[0])
    assert not is_temporary(name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_link_takes_the_place_of_a_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"new")
    second.write_bytes(b"old")
    link_atomic(first, second)
    assert second.read_bytes() == b"new"
    assert first.stat().st_ino == second.stat().st_ino


def test_linking_the_same_file_again_leaves_nothing_beside_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"new")
    for _ in range(2):
        link_atomic(first, second)
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_a_link_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"new")
    second.write_bytes(b"old")
    seen: list[str] = []

    def interrupted(*_: object) -> None:
        seen.extend(path.name for path in tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        link_atomic(first, second)
    assert any(map(is_temporary, seen))
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}
    assert second.read_bytes() == b"old"


def test_a_published_file_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    part_of(path).write_bytes(b"new")
    publish(part_of(path), path)
    assert path.read_bytes() == b"new"
    assert not part_of(path).exists()


def test_chips_of_a_run_that_was_killed_are_not_foreign(tmp_path: Path) -> None:
    names = ["chips.json", "a_00000_00001.png", ".a_00000_00001.pgw.0123abcd.tmp", ".chips.json.89abcdef.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert not has_foreign_files(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"")
    assert has_foreign_files(tmp_path)
