"""memory -> store -> render: a store costs speed when it fails, never a tile."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import middle_tile
from fake_s3 import running_s3
from private_mounts import private_mounts
from seeded_photo import SeededPhoto
from starlette.testclient import TestClient

from tileserver.cache.circuit_breaker import CircuitBreaker
from tileserver.cache.folder_store import FolderTiles
from tileserver.cache.guarded_store import GuardedStore
from tileserver.cache.open_store import open_store
from tileserver.cache.store import object_path, seal, unseal
from tileserver.errors import DamagedError, SettingsError, StoreError
from tileserver.service import TileRequest, TileService
from tileserver.tiling.tile import TileKey
from tileserver.web.app import create_app

CONTENT = "a" * 64


def key(x: int = 0, content: str = CONTENT) -> TileKey:
    return TileKey(content, "restored", "WebMercatorQuad", 19, x, 0, 1, "png")


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.png") if path.is_file())


def test_a_sealed_tile_is_whole_or_refused() -> None:
    body = b"picture" * 100
    sealed = seal(key(), body)
    assert sealed.startswith(body)
    assert unseal(key(), sealed) == body
    assert unseal(key(), seal(key(), b"")) == b""
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    for wrong in (sealed[:-1], flipped, b"", body, sealed[: len(body)]):
        with pytest.raises(DamagedError):
            unseal(key(), wrong)
    with pytest.raises(DamagedError):
        unseal(key(1), sealed)


def test_a_restart_serves_from_the_store(make_service: Callable[..., TileService], tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    first = make_service(store=str(folder))
    request = TileRequest("restored", "WebMercatorQuad", middle_tile(first), "png")
    body = first.tile(request).body
    wait_until(lambda: files(folder))
    second = make_service(store=str(folder))
    found = second.tile(request)
    assert (found.body, found.hit) == (body, True)
    assert second.metrics.inferences._value.get() == 0
    assert second.cached(request) is not None
    other = make_service(store=str(folder), rescale=(0, 200))
    assert other.tile(request).body != body


def test_stored_bytes_win_and_decide_the_entity_tag(
    make_service: Callable[..., TileService], tmp_path: Path
) -> None:
    """A host whose libraries round differently serves what is stored, and knows its own tags as well."""
    one, other = (make_service(store=str(tmp_path / name)) for name in ("one", "other"))
    request = TileRequest("old", "WebMercatorQuad", middle_tile(one), "png")
    theirs = one.tile(request)
    rounded = theirs.body + b"rounded differently"
    other.shared.store.put(other.key(request), rounded)
    found = other.tile(request)
    assert (found.body, found.hit) == (rounded, True)
    assert found.etag != theirs.etag
    client = TestClient(create_app(other.settings, make_service(store=str(tmp_path / "third"))))
    tile = request.tile
    url = f"/old/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    for tag in (found.etag, theirs.etag):
        again = client.get(url, headers={"If-None-Match": tag})
        assert (again.status_code, again.headers["etag"]) == (304, tag)
    assert client.get(url, headers={"If-None-Match": theirs.etag[:34] + 'x"'}).status_code == 200


def test_a_damaged_tile_is_made_again(make_service: Callable[..., TileService], tmp_path: Path) -> None:
    first = make_service(store=str(tmp_path))
    request = TileRequest("restored", "WebMercatorQuad", middle_tile(first), "png")
    body = first.tile(request).body
    wait_until(lambda: files(tmp_path))
    (path,) = files(tmp_path)
    good = path.read_bytes()
    for garbage in (b"", b"garbage", good[: len(good) // 2], good.replace(good[100:104], b"oops", 1)):
        path.write_bytes(garbage)
        again = make_service(store=str(tmp_path))
        assert again.tile(request).body == body
        assert again.metrics.store_errors.labels("damaged")._value.get() == 1
        wait_until(lambda: path.read_bytes() == good)


def test_a_folder_keeps_to_its_bound_and_keeps_tiles_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    bound = 2**20
    store = FolderTiles(tmp_path, bound)
    body, start = os.urandom(20_000), time.time() - 10_000
    store.put(key(0), body)
    for x in range(1, 200):
        store.put(key(x), body)
        path = tmp_path / object_path(key(x))
        date = start + 30 * x
        os.utime(path, (date, date))
        if x % 10 == 0:
            assert store.get(key(0)) == body
            os.utime(tmp_path / object_path(key(0)), (date, date))
    used = sum(path.stat().st_blocks * 512 for path in files(tmp_path))
    assert 0.5 * bound < used <= 1.1 * bound
    kept = {int(path.parent.name) for path in files(tmp_path)}
    assert 0 in kept, "asked for, and still evicted"
    assert 199 in kept
    assert 1 not in kept
    assert (tmp_path / "notes.txt").exists()


def test_eviction_and_removal_leave_no_empty_folders(tmp_path: Path) -> None:
    """Else inodes grow for ever; and what is written afterwards is described again."""
    store, other = FolderTiles(tmp_path, 2**20), "b" * 64
    for content in (CONTENT, other):
        store.describe(content, {"source": content[:3]})
    for x in range(8):
        store.put(key(x, other), bytes(2**17))
    for path in files(tmp_path):
        os.utime(path, (1, 1))
    for x in range(30):
        store.put(key(x), bytes(2**16))
    assert not (tmp_path / other).exists()
    assert all(any(folder.iterdir()) for folder in tmp_path.rglob("*") if folder.is_dir())
    store.put(key(1, other), b"again")
    assert {one.content: one.about["source"] for one in store.contents()} == {CONTENT: "aaa", other: "bbb"}
    store.remove(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == [other]


def test_small_tiles_count_as_what_they_take_on_disk(tmp_path: Path) -> None:
    bound = 2**20
    store = FolderTiles(tmp_path, bound)
    store.describe(CONTENT, {"source": "old"})
    most = 0
    for x in range(1200):
        store.put(key(x), b"empty" * 20)
        if x % 100 == 99:
            most = max(most, sum(path.stat().st_blocks * 512 for path in files(tmp_path)))
    assert most <= 1.1 * bound
    assert store.contents()[0].about == {"source": "old"}, "evicted with the tiles that it describes"


def test_eviction_lives_with_what_others_do_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its passes another process takes files away, and one of an early date comes."""
    store, passes, listing = FolderTiles(tmp_path, 2**20), [], FolderTiles._files
    for x in range(12):
        FolderTiles(tmp_path).put(key(x), os.urandom(100_000))

    def meanwhile(folder: FolderTiles) -> Iterator[tuple[Path, os.stat_result]]:
        passes.append(1)
        if len(passes) == 2:
            for path in files(tmp_path)[:10]:
                path.unlink()
            os.utime(files(tmp_path)[0], (0, 0))
        return listing(folder)

    monkeypatch.setattr(FolderTiles, "_files", meanwhile)
    store.put(key(12), os.urandom(1000))
    assert len(passes) == 2
    assert len(files(tmp_path)) == 3, "there is room again"


def test_a_hit_makes_a_tile_young_again(tmp_path: Path) -> None:
    store = FolderTiles(tmp_path, 2**20)
    store.put(key(), b"body")
    path = tmp_path / object_path(key())
    os.utime(path, (1, 1))
    assert store.get(key()) == b"body"
    assert path.stat().st_mtime > 1e9


@pytest.mark.slow
def test_processes_over_one_folder_never_corrupt_it(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tileserver.cache.folder_store import FolderTiles; from tileserver.tiling.tile import TileKey\n"
        "store = FolderTiles(Path(sys.argv[1]), 2**20)\n"
        "keys = [TileKey('a' * 64, 'restored', 'W', 19, x, 0, 1, 'png') for x in range(40)]\n"
        "for turn in range(5):\n"
        "    for key in keys:\n"
        "        store.put(key, bytes([key.x]) * 30_000)\n"
        "        body = store.get(key)\n"
        "        assert body is None or body == bytes([key.x]) * 30_000\n"
    )
    root = str(Path(__file__).parents[2])
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), root]) for _ in range(3)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    store = FolderTiles(tmp_path)
    (content,) = store.contents()
    assert content.tiles > 0


class Moody:
    """A store that can hang or fail."""

    name, writable = "the moody store", True

    def __init__(self) -> None:
        self.mood = "good"
        self.calls = 0
        self.wake = threading.Event()

    def get(self, key: TileKey) -> bytes | None:
        self.calls += 1
        if self.mood == "hang":
            self.wake.wait(120)
        if self.mood == "fail":
            raise StoreError("gone") from OSError("no such host")
        return b"stored"

    def put(self, key: TileKey, body: bytes) -> None:
        self.get(key)

    def close(self) -> None:
        self.wake.set()


@pytest.fixture
def moody() -> Iterator[tuple[Moody, GuardedStore, list[str], list[float]]]:
    now, errors, store = [0.0], list[str](), Moody()
    circuit = CircuitBreaker(failures=3, pause_s=10, clock=lambda: now[0])
    guard = GuardedStore(store, 1.0, errors.append, circuit)
    yield store, guard, errors, now
    store.mood = "good"
    guard.close()


@pytest.mark.parametrize(("mood", "kind"), [("hang", "timeout"), ("fail", "failed")])
def test_a_failing_store_is_not_asked_for_a_while_then_tried_again(
    moody: tuple[Moody, GuardedStore, list[str], list[float]],
    mood: str,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, guard, errors, now = moody
    caplog.set_level(logging.WARNING, "orthosharp")
    assert guard.get(key()) == b"stored"
    store.mood = mood
    for _ in range(20):
        assert guard.get(key()) is None
    assert errors == [kind] * 3
    assert guard.is_open
    assert store.calls == 4
    assert len(caplog.records) == 1, "one line, not one per tile"
    now[0] = 11.0
    assert guard.get(key()) is None
    assert store.calls == 5, "one try after the rest"
    assert guard.get(key()) is None
    assert store.calls == 5
    store.mood = "good"
    store.wake.set()
    now[0] = 22.0
    # The first try of a busy machine may come late once more.
    assert guard.get(key()) == b"stored" or guard.get(key()) is None
    wait_until(lambda: now.__setitem__(0, now[0] + 11) or guard.get(key()) == b"stored")
    assert not guard.is_open
    assert caplog.messages[-1].endswith("can be read again")


def test_a_slow_store_never_holds_a_tile_up_for_writing(
    moody: tuple[Moody, GuardedStore, list[str], list[float]],
) -> None:
    store, guard, errors, _ = moody
    store.mood = "hang"
    for x in range(400):
        guard.put(key(x), b"body")  # returns although nothing is written
    assert "busy" in errors


@pytest.mark.slow
def test_a_full_disk_costs_no_tile(tmp_path: Path) -> None:
    """In a name space of its own, where a tiny tmpfs can be mounted without privileges."""
    namespace = private_mounts()
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tileserver.cache.folder_store import FolderTiles; from tileserver.tiling.tile import TileKey\n"
        "from tileserver.errors import StoreError\n"
        "store = FolderTiles(Path(sys.argv[1])); full = 0\n"
        "keys = [TileKey('a' * 64, 'restored', 'W', 19, x, 0, 1, 'png') for x in range(40)]\n"
        "for key in keys:\n"
        "    try: store.put(key, bytes(100_000))\n"
        "    except StoreError: full += 1\n"
        "assert 0 < full < 40, full\n"
        "kept = [key for key in keys if store.get(key) is not None]\n"
        "assert all(store.get(key) == bytes(100_000) for key in kept)\n"
        "assert len(kept) == 40 - full\n"
        "store.remove('a' * 64)\n"
        "store.put(keys[0], bytes(100_000))\n"
        "assert store.get(keys[0])\n"
    )
    shell = f'mount -t tmpfs -o size=1m none "{tmp_path}" && "$@"'
    root = str(Path(__file__).parents[2])
    command = [*namespace, "sh", "-c", shell, "sh", sys.executable, "-c", script, str(tmp_path), root]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


def test_a_bucket_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_s3(monkeypatch) as s3:
        store = open_store("s3://bucket/some/prefix", timeout_s=60)
        assert store.get(key()) is None
        store.put(key(), b"body")
        assert store.get(key()) == b"body"
        assert list(s3.objects) == [f"/bucket/some/prefix/{object_path(key())}"]
        s3.mood = lambda *_: 500
        with pytest.raises(StoreError):
            store.get(key())


@pytest.mark.parametrize(
    ("address", "options", "word"),
    [
        ("ftp://host/tiles", {}, "s3://, gs://, az://"),
        ("s3://bucket", {"max_bytes": 10}, "lifecycle"),
        ("az://container/tiles", {}, "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_addresses_that_make_no_sense(
    address: str, options: dict[str, int], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(SettingsError, match=word):
        open_store(address, **options)


def test_a_seeded_folder_is_not_a_store(seeded: SeededPhoto) -> None:
    """It would be served as an empty one, and get files that no web server is to give away."""
    folder = seeded.folder / "folder"
    before = sorted(folder.iterdir())
    with pytest.raises(SettingsError, match="made by orthosharp seed"):
        open_store(str(folder))
    assert sorted(folder.iterdir()) == before


def test_contents_are_told_apart_and_removed(tmp_path: Path) -> None:
    store = FolderTiles(tmp_path)
    store.describe(CONTENT, {"source": "1998", "model": "tiny"})
    store.put(key(), b"one")
    store.put(key(1, "b" * 64), b"two")
    found = {content.content: content for content in store.contents()}
    assert found[CONTENT].about == {"source": "1998", "model": "tiny"}
    assert (found[CONTENT].tiles, found["b" * 64].tiles) == (1, 1)
    store.remove("b" * 64)
    assert [content.content for content in store.contents()] == [CONTENT]
    assert store.get(key()) == b"one"
