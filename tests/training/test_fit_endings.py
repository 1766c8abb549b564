"""How a run ends that does not reach its last step: stopped, diverged, its folder in use, its disk full."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from conftest import write_tiny_weights
from private_mounts import private_mounts
from training_data import write_site

from sr_model import load_weights, save_weights
from sr_model.atomic import write_atomic, write_together
from sr_model.errors import WeightsError
from training.cli.main import main
from training.errors import DivergedError, RunError, StoppedError
from training.fit.checkpoint import saved_step
from training.fit.config import HALF_SCALE_GRID, FitConfig, LossWeights
from training.fit.rate_finder import RateCurve, find_rate
from training.fit.run import fit

ROOT = Path(__file__).parents[2]
FEW = ["--batch", "1", "--sizes", "64", "--pixels-only", "--validate-every", "0", "--workers", "1"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("endings") / "town", ("train", "validation"), size=128)


@pytest.fixture(scope="module")
def config(site):
    return FitConfig(
        pairs=(str(site),),
        architecture="half_scale",
        colours="photo",
        loss=LossWeights.of_pixels(),
        steps=6,
        batch=1,
        sizes_px=(64,),
        precision="32-true",
        validate_every=0,
        workers=1,
    )


def same(first, second):
    return all(torch.equal(first.state[name], second.state[name]) for name in first.state)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_in_hand_and_the_run_goes_on_from_it(config, tmp_path, number):
    whole = fit(config, tmp_path / "whole")

    def stop(module, _batch):
        if module.step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(StoppedError, match=r"step 3 saved; --resume goes on"):
        fit(config, tmp_path / "run", after_step=[stop])
    assert saved_step(tmp_path / "run") == 3
    assert same(whole, fit(config, tmp_path / "run", resume=True))


def test_weights_that_are_not_finite_replace_nothing(config, tmp_path):
    def poison(module, _batch):
        if module.step == 5:
            next(module.network.parameters()).data.fill_(math.nan)

    run = tmp_path / "run"
    with pytest.raises(DivergedError, match=rf"Lower --lr .*--init {re.escape(str(run))}/last\.safetensors"):
        fit(config, run, every=4, after_step=[poison])
    assert saved_step(run) == 4
    assert all(torch.isfinite(value).all() for value in load_weights(run / "last.safetensors").state.values())


def test_a_rate_beyond_reason_is_told_and_leaves_no_weights(config, tmp_path):
    with pytest.raises(DivergedError, match="start again with that"):
        fit(replace(config, lr=1e36, steps=20), tmp_path / "run", every=20)
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_one_gradient_that_is_not_finite_is_left_out(config, tmp_path):
    def spoil(module, _batch):
        if module.step == 2:
            parameter = next(module.network.parameters())
            handle = parameter.register_hook(lambda gradient: gradient * math.nan)
            parameter.spoilt = handle
        elif module.step == 3:
            assert int(module.lost) == 1
            next(module.network.parameters()).spoilt.remove()

    trained = fit(config, tmp_path / "run", every=1, after_step=[spoil])
    assert all(torch.isfinite(value).all() for value in trained.state.values())
    assert saved_step(tmp_path / "run") == 6


def test_saving_what_is_not_finite_leaves_the_file_that_was_there(tmp_path):
    path = write_tiny_weights(tmp_path / "tiny.safetensors")
    before, good = path.read_bytes(), load_weights(path)
    spoilt = {name: torch.full_like(value, math.nan) for name, value in good.state.items()}
    with pytest.raises(WeightsError, match="not finite"):
        save_weights(path, good.spec, spoilt)
    assert path.read_bytes() == before


def test_several_files_are_replaced_together_or_not_at_all(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")

    def fails(_file):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="second") as caught:
        write_together({first: b"new", second: fails})
    assert (caught.value.errno, first.read_text()) == (28, "old")
    assert list(tmp_path.iterdir()) == [first]
    write_together({first: b"new", second: b"new"})
    assert first.read_text() == second.read_text() == "new"


def test_errors_without_a_number_or_a_name_get_both(tmp_path):
    def fails(_file):
        raise OSError("10 requested and 0 written")  # as numpy has it

    with pytest.raises(OSError, match="10 requested") as caught:
        write_atomic(tmp_path / "rows.npy", fails)
    assert caught.value.filename == str(tmp_path / "rows.npy")


def test_two_runs_do_not_share_a_folder(config, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    hold = f"""
import sys
from pathlib import Path
from training.locks import only_process_in
with only_process_in(Path({str(run)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", hold], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another process is at work in run"):
            fit(config, run)
        other.stdin.close()
    fit(replace(config, steps=1), run)


@pytest.mark.slow
def test_the_rate_finder_tells_a_rate_that_learns(site, config):
    loss = replace(config.loss, grid=HALF_SCALE_GRID)
    curve = find_rate(replace(config, loss=loss, batch=2), steps=40)
    assert list(curve.rates) == sorted(curve.rates)
    assert curve.losses[0] == pytest.approx(1, abs=0.01)
    assert 1e-5 < curve.suggested < 1e-2


@pytest.mark.slow
def test_find_lr_prints_a_rate_and_writes_nothing(site, tmp_path):
    words = ["fit", str(site), "--out", str(tmp_path / "run"), "--find-lr", *FEW]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "--lr " in result.stdout
    assert not (tmp_path / "run").exists()


def test_the_suggested_rate_is_a_third_of_the_last_before_the_loss_rises():
    rates = tuple(10.0**n for n in range(-6, 1))
    curve = RateCurve(rates, (1.0, 1.0, 0.9, 0.5, 0.52, 3.0, 20.0))
    assert curve.suggested == pytest.approx(3e-3)
    assert RateCurve(rates, (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)).suggested == pytest.approx(0.3)
    assert "1.0e-02" in curve.table()


def command(site, run, *more):
    return [sys.executable, "-m", "training.cli.main", "fit", str(site), "--out", str(run), *FEW, *more]


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [False, True], ids=["SIGTERM", "Ctrl+C in a terminal"])
def test_a_stopped_command_says_so_and_does_not_succeed(site, tmp_path, to_all):
    run = tmp_path / "run"
    with subprocess.Popen(
        command(site, run, "--steps", "100000", "--every", "2"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 300
        while saved_step(run) < 2:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if to_all:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == f"step {saved_step(run)} saved; --resume goes on"
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(site, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    fitting = " ".join(f"'{word}'" for word in command(site, disk / "run", "--steps", "2", "--every", "1"))
    shell = f"""
mount -t tmpfs -o size=3m tmpfs '{disk}' || exit 99
{fitting}; echo "code $?"
mount -o remount,size=300m '{disk}' || exit 99
{fitting}; echo "code $?"
"""
    ended = subprocess.run(
        [*private_mounts(), "sh", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert "Traceback" not in ended.stderr + ended.stdout, ended.stderr
    assert "code 1" in ended.stdout, ended.stdout + ended.stderr
    assert str(disk / "run") in ended.stderr
    assert "Free space" in ended.stderr
    assert ended.stdout.strip().endswith("code 0"), ended.stdout + ended.stderr


def test_a_folder_that_cannot_be_made_is_one_line_with_its_path(site, tmp_path):
    (tmp_path / "file").write_text("")
    words = ["fit", str(site), "--out", str(tmp_path / "file" / "run"), "--steps", "1", *FEW]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    assert str(tmp_path / "file" / "run") in line
    assert "Free space or make it writable" in line
