"""Folders and buckets of tiles, from the first tile to the TileJSON; a store in memory stands for buckets."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from tileserver.archives.identity import Identity, identity_of
from tileserver.archives.metadata import Description
from tileserver.errors import ArchiveError
from tileserver.jobs.seed.file_sink import BucketFiles, FolderFiles
from tileserver.jobs.seed.files_output import FilesOutput
from tileserver.jobs.seed.journal import Journal
from tileserver.jobs.seed.open_output import open_output
from tileserver.jobs.seed.resume import OverwritePolicy, open_journal
from tileserver.tiling.grid import BBox, TileAddress

IDENTITY = Identity(
    "c" * 64, "old", "f" * 64, "tiny", "d" * 64, 1.0, "model", "restored", "WebMercatorQuad", "png", None, 1
)
DESCRIPTION = Description(
    "A village",
    "Test Survey",
    "Test Survey",
    "AI-restored",
    BBox(-1.0, -1.0, 1.0, 1.0),
    0,
    1,
    "2026",
    IDENTITY,
    "{}",
)


OTHER = replace(DESCRIPTION, identity=replace(IDENTITY, content="e" * 64, weights="0" * 64))
FIRST, SECOND, THIRD = TileAddress(0, 0, 0), TileAddress(1, 1, 0), TileAddress(1, 0, 0)
OVERWRITE, CHANGED = OverwritePolicy(overwrite=True), OverwritePolicy(changed_only=True)


def bucket(folder: Path, store: MemoryStore, *, changed_only: bool = False) -> FilesOutput:
    return FilesOutput("mem://", BucketFiles(store), folder / "j.seeding", "png", changed_only=changed_only)


def folder_of(path: Path, *, changed_only: bool = False) -> FilesOutput:
    output = open_output(str(path), "png", changed_only=changed_only)
    assert isinstance(output, FilesOutput)
    return output


def run(
    output: FilesOutput,
    tiles: dict[TileAddress, bytes],
    description: Description = DESCRIPTION,
    policy: OverwritePolicy = OverwritePolicy(),  # noqa: B008 - frozen
) -> int:
    """Seed these tiles."""
    journal = open_journal(output, description, policy)
    assert journal is not None
    output.deliver(tiles.items())
    output.record(journal, tiles.items())
    return output.finish(journal, description, again=False)


def names(store: MemoryStore) -> set[str]:
    return {item["path"] for batch in obstore.list(store) for item in batch}


def files(path: Path) -> set[str]:
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


def test_a_bucket_from_the_first_tile_to_its_tilejson(tmp_path: Path) -> None:
    store = MemoryStore()
    output = bucket(tmp_path, store)
    assert output.metadata() is None
    assert run(output, {FIRST: b"\x89PNG one", SECOND: b"\x89PNG two"}) == 16
    assert names(store) == {"0/0/0.png", "1/1/0.png", "tilejson.json"}
    assert not list(tmp_path.iterdir())
    found = output.metadata()
    assert found is not None
    assert identity_of(found) == IDENTITY
    assert found["tiles"] == ["{z}/{x}/{y}.png"]
    assert obstore.get(store, "1/1/0.png").attributes["Content-Type"] == "image/png"
    assert open_journal(output, DESCRIPTION, OverwritePolicy()) is None


def test_overwriting_takes_tiles_and_nothing_else(tmp_path: Path) -> None:
    store = MemoryStore()
    run(bucket(tmp_path, store), {FIRST: b"one", SECOND: b"two"})
    for name in ("1/1/0.webp", "photos/old.tif", "notes.txt"):
        obstore.put(store, name, b"x")
    with pytest.raises(ArchiveError, match="weights: dddddddddddd, not 000000000000"):
        open_journal(bucket(tmp_path, store), OTHER, OverwritePolicy())
    run(bucket(tmp_path, store), {FIRST: b"three"}, OTHER, OVERWRITE)
    assert names(store) == {"0/0/0.png", "tilejson.json", "photos/old.tif", "notes.txt"}


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_changed_only_writes_what_differs_and_leaves_nothing_old(tmp_path: Path, kind: str) -> None:
    """A tile that became empty, or that the photograph does not show any more, has no file afterwards."""
    store, path = MemoryStore(), tmp_path / "tiles"

    def output(*, changed_only: bool = False) -> FilesOutput:
        made = bucket(tmp_path, store, changed_only=changed_only)
        return made if kind == "bucket" else folder_of(path, changed_only=changed_only)

    def date(name: str) -> object:
        if kind == "bucket":
            return obstore.head(store, name)["e_tag"]
        return (path / name).stat().st_mtime_ns

    run(output(), {FIRST: b"same" * 2000, SECOND: b"before" * 2000, THIRD: b"became empty"})
    dates = {name: date(name) for name in ("0/0/0.png", "1/1/0.png")}
    changed = {FIRST: b"same" * 2000, SECOND: b"after" * 2000}
    run(output(changed_only=True), changed, OTHER, CHANGED)
    assert date("0/0/0.png") == dates["0/0/0.png"]
    assert date("1/1/0.png") != dates["1/1/0.png"]
    assert (names(store) if kind == "bucket" else files(path)) == {"0/0/0.png", "1/1/0.png", "tilejson.json"}
    # No folder is left without a file.
    assert not [folder for folder in path.rglob("*") if folder.is_dir() and not any(folder.iterdir())]


def test_a_folder_keeps_equal_tiles_once(tmp_path: Path) -> None:
    path = tmp_path / "tiles"
    tiles = {TileAddress(5, x, y): b"empty" if (x + y) % 2 else b"water" for x in range(6) for y in range(6)}
    run(folder_of(path), tiles | {FIRST: b"picture" * 1000, SECOND: b"picture" * 1000})
    found = {file: (file.stat().st_ino, file.read_bytes()) for file in path.glob("*/*/*.png")}
    assert {body for _, body in found.values()} == set(tiles.values()) | {b"picture" * 1000}
    # Those that are smaller than a block of the disk; the others are seldom equal.
    assert len({inode for inode, body in found.values() if len(body) < 4096}) == 2


def test_equal_tiles_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    run(folder_of(tmp_path / "tiles"), {FIRST: b"empty", SECOND: b"empty"})
    assert [file.read_bytes() for file in (tmp_path / "tiles").glob("*/*/*.png")] == [b"empty"] * 2


def test_a_link_is_made_to_these_bytes_only(tmp_path: Path) -> None:
    """The file that had them first may have others by now."""
    output = FolderFiles(tmp_path)
    output.put([("a.png", b"one", "")])
    output.put([("a.png", b"two", "")])
    output.put([("b.png", b"one", ""), ("a.png", b"one", "")])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a.png": b"one", "b.png": b"one"}


def test_what_a_kill_left_half_written_is_ours_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "tiles"
    leftovers = ["1/0/.0.png.0123abcd.tmp", ".tilejson.json.4567cdef.tmp"]
    for name in leftovers:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"half")
    run(folder_of(path), {FIRST: b"picture", SECOND: b"picture"}, policy=OVERWRITE)
    assert files(path) == {"0/0/0.png", "1/1/0.png", "tilejson.json"}
    for name in leftovers:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"half")
    run(folder_of(path, changed_only=True), {FIRST: b"other"}, OTHER, CHANGED)
    assert files(path) == {"0/0/0.png", "tilejson.json"}


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_tiles_whose_journal_is_elsewhere_are_not_replaced_unasked(tmp_path: Path, kind: str) -> None:
    store, path = MemoryStore(), tmp_path / "tiles"
    output = bucket(tmp_path, store) if kind == "bucket" else folder_of(path)
    output.deliver({FIRST: b"mine", SECOND: b"too"}.items())
    with pytest.raises(ArchiveError, match=r"provenance is unknown.*--overwrite"):
        open_journal(output, DESCRIPTION, OverwritePolicy(changed_only=True, refresh_before="2999-01-01"))
    assert {"0/0/0.png", "1/1/0.png"} == (names(store) if kind == "bucket" else files(path))
    run(output, {FIRST: b"new"}, policy=OVERWRITE)
    assert {"0/0/0.png", "tilejson.json"} == (names(store) if kind == "bucket" else files(path))


def test_a_kill_while_old_tiles_are_cleared_leaves_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    run(bucket(tmp_path, store), {FIRST: b"one", SECOND: b"two"})
    with monkeypatch.context() as patch:
        patch.setattr(FilesOutput, "clear", lambda self: (self._files.remove(["tilejson.json"]), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            open_journal(bucket(tmp_path, store), OTHER, OVERWRITE)
    run(bucket(tmp_path, store), {FIRST: b"three"}, OTHER, OverwritePolicy())
    assert names(store) == {"0/0/0.png", "tilejson.json"}


@pytest.mark.parametrize("text", [b"Dear server", b"[]", b"{}", b'{"orthosharp": {"content": 1}}'])
def test_a_bucket_with_something_else_in_it(tmp_path: Path, text: bytes) -> None:
    store = MemoryStore()
    obstore.put(store, "tilejson.json", text)
    with pytest.raises(ArchiveError, match=r"cannot be read|was not made by"):
        open_journal(bucket(tmp_path, store), DESCRIPTION, OVERWRITE)
    obstore.delete(store, "tilejson.json")
    obstore.put(store, "index.html", text)
    with pytest.raises(ArchiveError, match=r"index\.html"):
        open_journal(bucket(tmp_path, store), DESCRIPTION, OVERWRITE)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_set_is_as_old_as_its_first_tiles(tmp_path: Path) -> None:
    old = replace(DESCRIPTION, date="2026-01-02T00:00:00+00:00")
    journal = open_journal(folder_of(tmp_path / "tiles"), old, OverwritePolicy())
    assert journal is not None
    journal.close()
    today = replace(DESCRIPTION, date="2026-03-04T00:00:00+00:00")
    again = open_journal(folder_of(tmp_path / "tiles"), today, OverwritePolicy(refresh_before="2026-01-02"))
    assert again is not None
    assert again.settings["begun"] == old.date
    again.close()
    younger = open_journal(folder_of(tmp_path / "tiles"), today, OverwritePolicy(refresh_before="2026-02-01"))
    assert younger is not None
    assert younger.settings["begun"] == today.date
    younger.close()


@pytest.mark.parametrize("name", ["a.mbtiles", "a.pmtiles", "tiles"])
def test_a_journal_of_other_tiles_or_of_others_is_refused(tmp_path: Path, name: str) -> None:
    output = open_output(str(tmp_path / name), "png")
    journal = open_journal(output, OTHER, OverwritePolicy())
    assert journal is not None
    journal.close()
    with pytest.raises(ArchiveError, match=r"started with other options .*weights"):
        open_journal(output, DESCRIPTION, OverwritePolicy())
    # That of a version whose identity had other fields.
    journal = Journal(output.journal_path)
    journal.note("identity", '{"source": "old"}')
    journal.close()
    with pytest.raises(ArchiveError, match="provenance is unknown"):
        open_journal(output, DESCRIPTION, OverwritePolicy())
    journal = Journal(output.journal_path)
    journal.connection.execute("DROP TABLE seed_nodes")
    journal.close()
    for text in (None, b"Dear server" * 100):
        if text:
            output.journal_path.write_bytes(text)
        with pytest.raises(ArchiveError, match="not the journal"):
            open_journal(output, DESCRIPTION, OVERWRITE)


def test_addresses_that_are_none(tmp_path: Path) -> None:
    for name in ("gopher://somewhere", "file:///tmp", "memory:///"):
        with pytest.raises(ArchiveError, match="s3://"):
            open_output(name, "png")
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(ArchiveError, match="is a file"):
        open_output(str(tmp_path / "a.zip"), "png")


def test_identities_survive_and_tell_their_differences() -> None:
    assert Identity.from_json(IDENTITY.to_json()) == IDENTITY
    for text in ("{}", "[]", "null", json.dumps({"content": 1})):
        with pytest.raises(ValueError, match="orthosharp"):
            Identity.from_json(text)
