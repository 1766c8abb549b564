import os
import stat

import pytest

from sr_model.atomic import write_atomic


def test_a_file_is_replaced_as_a_whole_by_bytes_or_by_what_a_function_writes(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, b"old")
    assert path.read_bytes() == b"old"
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_what_breaks_off_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, b"old")

    def half(file):
        file.write(b"ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, half)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "a.txt", b"new")


def test_the_content_is_on_the_disk_before_the_name_points_to_it(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    seen = []
    fsync = os.fsync

    def watched(descriptor):
        seen.append((os.fstat(descriptor).st_size, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomic(path, b"whole")
    assert seen == [(5, False)]


def test_permissions_are_those_of_any_new_file(tmp_path):
    plain, atomic = tmp_path / "plain", tmp_path / "atomic"
    plain.write_bytes(b"")
    write_atomic(atomic, b"")
    assert stat.S_IMODE(atomic.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
