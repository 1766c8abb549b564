"""What long work says about itself: to a log, to a machine, at a terminal."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tileserver.jobs import progress
from tileserver.jobs.progress import (
    JobProgress,
    JsonReporter,
    LineReporter,
    WritingReporter,
    describe,
    summarise,
)

HALF = JobProgress(
    units=50, all_units=100, units_made=20, tiles=400, nbytes=10**6, failures=3, megapixels=21.0, seconds=10.0
)


def test_figures_in_words() -> None:
    assert describe(HALF) == "40.0 tiles/s, 2.10 megapixels/s, 3 failed, 0:00:24 left"
    # The rate is not known yet; and rasters have no tiles.
    assert describe(JobProgress(0, 100)) == "0.00 megapixels/s, 0 failed"


@pytest.mark.parametrize("as_json", [False, True])
def test_writing_a_large_output_tells_its_share(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    report = WritingReporter("town.pmtiles", as_json=as_json)
    for number in range(101):
        now[0] += 0.1
        report(number / 100)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    if as_json:
        assert json.loads(lines[0]) == {"event": "writing", "output": "town.pmtiles", "share": 0.49}
    else:
        assert lines[0] == "writing town.pmtiles: 49%"


def test_a_log_gets_a_line_every_few_seconds_and_one_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with LineReporter() as report:
        for units in range(101):
            now[0] += 0.3
            report(JobProgress(units, 100, units, seconds=now[0] - 1000))
    lines = capsys.readouterr().out.splitlines()
    shown = [int(line.split("/")[0]) for line in lines]
    assert shown[0] == 0
    assert shown[-1] == 100
    assert all(15 <= later - earlier <= 18 for earlier, later in itertools.pairwise(shown[:-1]))
    assert lines[3].startswith(f"{shown[3]}/100 metatile blocks, 0.00 megapixels/s, 0 failed, 0:00:")


def test_a_machine_gets_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonReporter() as report:
        report(JobProgress(0, 100))
        report(HALF)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["event"], first["seconds_left"]) == ("progress", None)
    assert second == {
        "event": "progress",
        "units": 50,
        "all_units": 100,
        "units_made": 20,
        "tiles": 400,
        "nbytes": 10**6,
        "failures": 3,
        "megapixels": 21.0,
        "seconds": 10.0,
        "seconds_left": 23.5,
    }


def test_the_last_line_has_size_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    summarise("town.pmtiles", "400 tiles written", HALF, 123_456_789, as_json=False)
    summarise("town.pmtiles", "400 tiles written", HALF, None, as_json=False)
    summarise("town.pmtiles", "400 tiles written", HALF, 123, as_json=True)
    whole, stopped, machine = capsys.readouterr().out.splitlines()
    assert whole == (
        "town.pmtiles: 400 tiles written in 0:00:10 (40.0 tiles/s, 2.10 megapixels/s); 123.5 MB in all"
    )
    assert stopped.endswith("not finished: run the same command again to continue")
    found = json.loads(machine)
    assert (found["event"], found["bytes"], found["megapixels_per_s"]) == ("done", 123, 2.1)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_gets_a_bar() -> None:
    script = (
        "from tileserver.jobs.progress import JobProgress, reporter\n"
        "with reporter(as_json=False) as report:\n"
        "    report(JobProgress(50, 100, 20, 400, 10**6, 3, 21.0, 10.0))\n"
    )
    ours, theirs = pty.openpty()
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        "TERM": "xterm",
        "COLUMNS": "120",
    }
    process = subprocess.Popen([sys.executable, "-c", script], stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            break
    os.close(ours)
    assert process.wait(timeout=120) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "50%" in text
    assert "40.0 tiles/s, 2.10 megapixels/s, 3 failed, 0:00:24 left" in text
    assert "━" in text
