"""A bucket gets the files of a folder, with their types; a store in memory stands for it."""

from __future__ import annotations

import json
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore

from tileserver.archives.description import Description
from tileserver.archives.identity import Identity
from tileserver.errors import ArchiveError
from tileserver.grid import TileAddress
from tileserver.seed.outputs import FolderOutput, identity_of, open_output
from tileserver.seed.prepare import open_journal

IDENTITY = Identity(
    "c" * 64, "old", "f" * 64, "tiny", "d" * 64, 1.0, "model", "restored", "WebMercatorQuad", "png", None, 1
)
DESCRIPTION = Description(
    "A village",
    "Test Survey",
    "Test Survey",
    "AI-restored",
    (-1.0, -1.0, 1.0, 1.0),
    0,
    1,
    "2026",
    IDENTITY,
    "{}",
)


def bucket(folder: Path, store: MemoryStore, *, changed_only: bool = False) -> FolderOutput:
    return FolderOutput("mem://", store, folder / "j.seeding", None, "png", changed_only=changed_only)


def names(store: MemoryStore) -> set[str]:
    return {item["path"] for batch in obstore.list(store) for item in batch}


def test_a_bucket_from_the_first_tile_to_its_tilejson(tmp_path: Path) -> None:
    store = MemoryStore()
    output = bucket(tmp_path, store)
    assert output.metadata() is None
    journal = open_journal(output, DESCRIPTION)
    assert journal is not None
    output.deliver([(TileAddress(0, 0, 0), b"\x89PNG one"), (TileAddress(1, 1, 0), b"\x89PNG two")])
    assert names(store) == {"0/0/0.png", "1/1/0.png"}
    assert output.finish(journal, DESCRIPTION, again=False) == 16
    assert not list(tmp_path.iterdir())
    found = output.metadata()
    assert found is not None
    assert identity_of(found) == IDENTITY
    assert found["tiles"] == ["{z}/{x}/{y}.png"]
    assert obstore.get(store, "1/1/0.png").attributes["Content-Type"] == "image/png"
    assert open_journal(output, DESCRIPTION) is None


def test_clearing_takes_tiles_and_nothing_else(tmp_path: Path) -> None:
    store = MemoryStore()
    for name in ("3/1/2.png", "3/1/2.webp", "tilejson.json", "photos/old.tif", "notes.txt"):
        obstore.put(store, name, b"x")
    bucket(tmp_path, store).clear()
    assert names(store) == {"photos/old.tif", "notes.txt"}


def test_changed_only_writes_what_differs(tmp_path: Path) -> None:
    store = MemoryStore()
    obstore.put(store, "0/0/0.png", b"same")
    obstore.put(store, "1/0/0.png", b"before")
    dates = {name: obstore.head(store, name)["e_tag"] for name in ("0/0/0.png", "1/0/0.png")}
    output = bucket(tmp_path, store, changed_only=True)
    output.clear()
    output.deliver([(TileAddress(0, 0, 0), b"same"), (TileAddress(1, 0, 0), b"after")])
    assert obstore.head(store, "0/0/0.png")["e_tag"] == dates["0/0/0.png"]
    assert obstore.head(store, "1/0/0.png")["e_tag"] != dates["1/0/0.png"]


def test_a_bucket_with_something_else_in_it(tmp_path: Path) -> None:
    store = MemoryStore()
    obstore.put(store, "tilejson.json", b"Dear server")
    with pytest.raises(ArchiveError, match="cannot be read"):
        bucket(tmp_path, store).metadata()


def test_addresses_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="s3://"):
        open_output("gopher://somewhere", "png")
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(ArchiveError, match="is a file"):
        open_output(str(tmp_path / "a.zip"), "png")


def test_identities_survive_and_tell_their_differences() -> None:
    assert Identity.from_json(IDENTITY.to_json()) == IDENTITY
    for text in ("{}", "[]", "null", json.dumps({"content": 1})):
        with pytest.raises(ValueError, match="orthosharp"):
            Identity.from_json(text)
