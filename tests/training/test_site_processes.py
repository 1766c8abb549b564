"""Whole runs of `orthosharp-train site` on a tiny site, as processes: killed in each step, and stopped by a signal."""

import json
import signal
import subprocess
import sys
import time

import pytest
from training_data import old_and_new

from sr_model import load_weights
from training.fit.checkpoint import saved_step
from training.site.preview import STEPS

pytestmark = pytest.mark.slow

TIME_LIMIT_S = 400
TRAINED = 12


def command(folder, name):
    return [
        sys.executable, "-m", "training.cli.main", "site", str(folder / "old.tif"), str(folder / "new.tif"),
        "--out", str(folder / f"{name}.safetensors"), "--steps", str(TRAINED), "--threads", "1", "--sheets", "2",
    ]  # fmt: skip


def done(run):
    try:
        return set(json.loads((run / "site.json").read_text())["done"])
    except OSError:
        return set()


def is_in(step, run):
    """Whether a run is in the middle of a step, or about to begin it."""
    before = list(STEPS)[: list(STEPS).index(step)]
    if step == "fit":
        return saved_step(run / "fit") >= TRAINED // 4
    if step == "pairs":
        return any((run / "pairs" / "new").glob("*.png"))
    return set(before) <= done(run) and (run / "site.json").exists()


def stop_in(step, folder, name, number):
    """Start, and send a signal in the middle of a step; returns the exit code and what was printed."""
    run = folder / f"{name}-run"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command(folder, name), stdout=log, stderr=log)
        deadline = time.monotonic() + TIME_LIMIT_S
        while not is_in(step, run):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        code = process.wait(TIME_LIMIT_S)
    return code, (folder / "log").read_text()


def test_a_run_that_is_killed_in_each_step_ends_like_one_that_was_not(tmp_path):
    old_and_new(tmp_path, 640)
    subprocess.run(command(tmp_path, "whole"), check=True, timeout=TIME_LIMIT_S, capture_output=True)

    run = tmp_path / "killed-run"
    made = {}
    for step in STEPS:
        if step in ("pairs", "fit"):
            code, text = stop_in(step, tmp_path, "killed", signal.SIGTERM)
            assert code == 130, text
            assert "the same command" in text
        code, text = stop_in(step, tmp_path, "killed", signal.SIGKILL)
        assert code == -signal.SIGKILL, text
        # What was made before is not made again.
        assert all(path.stat().st_mtime_ns == written for path, written in made.items())
        made |= {path: path.stat().st_mtime_ns for path in (run / "pairs").glob("*/*.png")}
        if step == "fit":
            assert 0 < saved_step(run / "fit") < TRAINED
    finished = subprocess.run(
        command(tmp_path, "killed"), check=True, timeout=TIME_LIMIT_S, capture_output=True, text=True
    )
    assert "orth serving" in finished.stdout.splitlines()[-1]
    whole, killed = (load_weights(tmp_path / f"{name}.safetensors") for name in ("whole", "killed"))
    assert [key for key in whole.state if (whole.state[key] != killed.state[key]).any()] == []
    assert made
    assert all(path.stat().st_mtime_ns == written for path, written in made.items())

    # The numbers of both comparisons are the same, and both runs have all that the page links to.
    scores = [
        json.loads((tmp_path / f"{name}-run" / "scores.json").read_text()) for name in ("whole", "killed")
    ]
    assert scores[0]["scores"] == scores[1]["scores"]
    assert {row["method"] for row in scores[0]["scores"]} >= {"bicubic", "bundled network", "orthosharp"}
    page = (run / "index.html").read_text()
    assert "http-equiv" not in page
    for name in ("pairs/report.html", "evaluation.html", "sheets/index.html"):
        assert name in page
        assert (run / name).is_file()
    assert (tmp_path / "killed-run" / "sheets.key.json").is_file()
    spec = killed.spec
    assert "orth serving" in spec.provenance
    assert "the owners of old.tif and new.tif" in spec.credit
    assert spec.metrics["scores"]

    # A finished run does nothing again.
    written = (tmp_path / "killed.safetensors").stat().st_mtime_ns
    subprocess.run(command(tmp_path, "killed"), check=True, timeout=TIME_LIMIT_S, capture_output=True)
    assert (tmp_path / "killed.safetensors").stat().st_mtime_ns == written
