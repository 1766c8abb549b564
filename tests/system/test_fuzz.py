"""Damaged and hostile input to each of our parsers: an error of ours that says so, never a traceback.

Bytes of good files are changed, cut and repeated at random. A few seconds run with the quick tests; a minute each with
`make test-all`. A failure names the seed of its mutation, which makes it again.
"""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from seeded_photo import SeededPhoto
from starlette.testclient import TestClient

from sr_model import SrModelError, load_weights
from tileserver.archives.readers import open_archive
from tileserver.cache.archive_store import UNREADABLE
from tileserver.cli.config_file import read_maps
from tileserver.errors import TileServerError
from tileserver.service import TileService
from tileserver.web.app import create_app

QUICK_S, LONG_S = 1.0, 60.0
FEWEST = 5
DURATIONS = [QUICK_S, pytest.param(LONG_S, marks=pytest.mark.slow)]
# Values that parsers trip over.
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1]
TOML = b"""host = "127.0.0.1"
port = 8000
cache_bytes = 1_000_000

[maps.old]
source = "old.tif"
bands = [1, 2, 3]
rescale = [0, 255]
bounds = [-73.6, 42.3, -73.5, 42.4]
colours = "corrected"
halo = [0.4, 1.2]
"""


def mutated(data: bytes, random_: random.Random) -> bytes:
    """Bytes with some changes, most of them near the start, where headers are."""
    changed = bytearray(data)
    for _ in range(random_.choice([1, 1, 2, 4, 16])):
        if not changed:
            break
        near_start = random_.random() < 0.6
        at = random_.randrange(min(len(changed), 512) if near_start else len(changed))
        kind = random_.randrange(6)
        if kind == 0:
            changed[at] ^= 1 << random_.randrange(8)
        elif kind == 1:
            changed[at : at + 8] = random_.choice(NUMBERS).to_bytes(8, "little")
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            del changed[at : at + random_.randrange(1, 64)]
        elif kind == 4:
            changed[at:at] = changed[at : at + random_.randrange(1, 64)]
        else:
            changed[at : at + 1] = random_.choice(
                [b"", b"\x00", b"\xff", b"{", b'"', b"9" * 20, b"-", b"\n["]
            )
    return bytes(changed)


def fuzz(data: bytes, seconds: float, parse: Callable[[bytes], object]) -> None:
    """Parse mutations until the time is over, a few at least; errors of ours pass."""
    end, seed = time.monotonic() + seconds, 0
    while seed < FEWEST or time.monotonic() < end:
        text = mutated(data, random.Random(seed))
        try:
            parse(text)
        except (TileServerError, SrModelError):
            pass
        except Exception as error:
            raise AssertionError(f"the mutation of seed {seed} ends with {error!r}") from error
        seed += 1


@pytest.mark.parametrize("seconds", DURATIONS)
def test_weights(tiny_weights: Path, tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "w.safetensors"

    def parse(text: bytes) -> None:
        path.write_bytes(text)
        load_weights(path)

    fuzz(tiny_weights.read_bytes(), seconds, parse)


@pytest.mark.parametrize("seconds", DURATIONS)
@pytest.mark.parametrize("name", ["a.pmtiles", "a.mbtiles"])
def test_archives(seeded: SeededPhoto, tmp_path: Path, name: str, seconds: float) -> None:
    path = tmp_path / name

    def parse(text: bytes) -> None:
        path.write_bytes(text)
        archive = open_archive(path)
        try:
            for zoom in (0, 12, 19, 31):
                # The server takes these for a damaged tile.
                with suppress(*UNREADABLE):
                    archive.get(zoom, (1 << zoom) // 3, (1 << zoom) // 5)
        finally:
            archive.close()

    fuzz((seeded.folder / name).read_bytes(), seconds, parse)


@pytest.mark.parametrize("seconds", DURATIONS)
def test_configuration(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "orthosharp.toml"

    def parse(text: bytes) -> None:
        path.write_bytes(text)
        read_maps({}, path)

    fuzz(TOML, seconds, parse)


@pytest.mark.parametrize("seconds", DURATIONS)
def test_addresses(make_service: Callable[..., TileService], seconds: float) -> None:
    service = make_service()
    client = TestClient(create_app(service.settings, service), raise_server_exceptions=False)
    address = b"/restored/tiles/WebMercatorQuad/19/155044/193844@2x.webp?f=json&layer=old&z=1"

    def ask(text: bytes) -> None:
        path = "/" + quote(text, safe="/?&=@.%:-")
        assert client.get(path).status_code < 500

    fuzz(address, seconds, ask)
