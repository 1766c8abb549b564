"""What happens to a seeding when photograph, disk or store fail, and that the next run ends it."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_contents import contents
from command_calls import refused, seed
from conftest import Photo, write_photo
from damage import block, overwrite
from fake_s3 import FakeS3, running_s3
from quick_cases import quick_cases
from seeded_photo import OPTIONS, OUTPUTS, SeededPhoto

from tileserver.archives.readers import open_archive
from tileserver.errors import OutputError, ReadError
from tileserver.jobs import retry
from tileserver.photo.source import Source

# Before the tests shorten it.
RETRY_OUTPUT_S = retry.RETRY_OUTPUT_S


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "RETRY_S", (0.0, 0.0))
    monkeypatch.setattr(retry, "RETRY_OUTPUT_S", (0.0, 0.0))


@pytest.mark.parametrize("name", quick_cases(OUTPUTS, "a.pmtiles"))
def test_a_damaged_block_costs_its_metatiles_and_the_next_run_makes_them(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path, name: str
) -> None:
    source, path = write_photo(tmp_path / "old.tif", Photo(hole="mask")), tmp_path / name
    # As long as a real photograph, whose fingerprint is made of samples: the damage is between them.
    os.truncate(source, 40_000_000)
    offset, size = block(source, 4, 0)
    good = overwrite(source, offset, b"\xff" * size)
    result = seed(source, path, tiny_weights, *OPTIONS)
    assert result.exit_code == 1, result.output
    assert "failed, see" in result.stderr
    whole, first = contents(seeded.folder / name), contents(path)
    assert 0 < len(first) < len(whole)
    (listing,) = tmp_path.rglob("*failures.txt")
    places = [line.split("\t") for line in listing.read_text().splitlines() if not line.startswith("#")]
    assert all("cannot be read" in reason for _, reason in places)
    assert all(tuple(map(int, place.split("/"))) not in first for place, _ in places)
    open_archive(path).close()  # it is whole in itself
    low = seeded.service.rasters.view("restored", "WebMercatorQuad").pyramid.min_metatile_zoom
    assert all(whole[place] == body for place, body in first.items() if place[0] >= low)

    overwrite(source, offset, good)
    result = seed(source, path, tiny_weights, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert contents(path) == whole
    assert not [file for file in tmp_path.rglob("*") if "fail" in file.name or "seeding" in file.name]


def failing_reads(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Reads of metatiles fail so many times; samples for the tone are smaller."""
    read, left = Source.read, [times]

    def fail(
        self: Source, crs: object, transform: object, window: object, *rest: object, **more: object
    ) -> object:
        if window.width > 1024 and left[0]:  # type: ignore[attr-defined]
            left[0] -= 1
            raise ReadError("a block of the photograph cannot be read")
        return read(self, crs, transform, window, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Source, "read", fail)


def test_what_fails_once_is_tried_again(
    seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_reads(monkeypatch, 2)
    path = tmp_path / "a.mbtiles"
    result = seed(seeded.source, path, tiny_weights, *OPTIONS, "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert contents(path) == contents(seeded.folder / "a.mbtiles")


def test_patience_lasts_for_more_than_a_minute() -> None:
    """With longer and longer pauses, and not for ever."""
    pauses: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            return False

    def away() -> None:
        raise OutputError("the store is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "RETRY_OUTPUT_S", RETRY_OUTPUT_S)
        with pytest.raises(OutputError):
            retry.with_retries(away, Stop())
    assert pauses == sorted(pauses)
    assert 60 < sum(pauses) < 600


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeS3]:
    """`s3://bucket`; journals lie in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    with running_s3(monkeypatch) as made:
        yield made


def tiles_in(s3: FakeS3) -> dict[tuple[int, int, int], bytes]:
    found = {}
    for name, body in s3.objects.items():
        parts = Path(name).with_suffix("").parts
        if parts[-1] != "tilejson":
            found[int(parts[-3]), int(parts[-2]), int(parts[-1])] = body
    return found


def test_a_bucket_that_is_away_for_a_while(
    seeded: SeededPhoto, tiny_weights: Path, s3: FakeS3, tmp_path: Path
) -> None:
    s3.mood = lambda method, puts: 503 if method == "PUT" and 10 < puts < 15 else 200
    result = seed(seeded.source, "s3://bucket/town", tiny_weights, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert tiles_in(s3) == contents(seeded.folder / "folder")
    assert "/bucket/town/tilejson.json" in s3.objects
    assert not list(tmp_path.iterdir())
    result = seed(seeded.source, "s3://bucket/town", tiny_weights, *OPTIONS)
    assert "nothing to do" in result.stderr


@pytest.mark.slow
def test_a_bucket_that_takes_nothing_more_stops_the_run_and_the_next_one_goes_on(
    seeded: SeededPhoto, tiny_weights: Path, s3: FakeS3, tmp_path: Path
) -> None:
    s3.mood = lambda method, puts: 403 if method == "PUT" and puts > 30 else 200
    result = seed(seeded.source, "s3://bucket/town", tiny_weights, *OPTIONS)
    assert result.exit_code == 1, result.output
    assert "cannot be written" in result.stderr
    assert "Traceback" not in result.output
    assert len(s3.objects) == 30
    assert "/bucket/town/tilejson.json" not in s3.objects
    (journal,) = tmp_path.iterdir()
    assert re.fullmatch(r"s3-bucket-town-[0-9a-f]{8}\.seeding", journal.name)
    s3.mood = lambda *_: 200
    assert seed(seeded.source, "s3://bucket/town", tiny_weights, *OPTIONS).exit_code == 0
    assert tiles_in(s3) == contents(seeded.folder / "folder")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_time_limit_and_another_try(seeded: SeededPhoto, tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.pmtiles"
    result = seed(seeded.source, path, tiny_weights, *OPTIONS, "--time-limit", "0s")
    assert result.exit_code == 130
    assert not path.exists()
    refused(seed(seeded.source, path, tiny_weights, "--zooms", "12-18"), "started with other options")
    result = seed(seeded.source, path, tiny_weights, *OPTIONS, "--json")
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events[-3:]] == ["progress", "writing", "done"]
    assert events[-1]["bytes"] == path.stat().st_size
    assert events[-3]["seconds_left"] == 0
    result = seed(seeded.source, path, tiny_weights, *OPTIONS, "--json")
    assert json.loads(result.stdout) == {"event": "complete", "output": str(path)}
    assert contents(path) == contents(seeded.folder / "a.pmtiles")
