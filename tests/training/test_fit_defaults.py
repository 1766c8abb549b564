"""What `fit` chooses by itself: threads, the photograph's own texture, devices; and weights that were not exported."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from training_data import write_site

from sr_model import ModelSpec, bundled_weights_path, load_weights, save_weights
from sr_model.machine import usable_cores
from training.cli import fit_defaults
from training.cli.main import main
from training.errors import RunError
from training.processors import free_processors, wait_passively


def test_threads_are_as_many_as_processors_are_free_and_a_run_keeps_its_number(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(fit_defaults, "free_processors", lambda: 6)
    assert fit_defaults.choose_threads(0, None, 1) == 6
    assert fit_defaults.choose_threads(0, None, 4) == 1
    assert fit_defaults.choose_threads(3, {"threads": 5}, 1) == 3
    assert fit_defaults.choose_threads(0, {"threads": 5}, 1) == 5
    assert fit_defaults.choose_threads(0, {}, 1) == 0  # begun by an older version: torch's own number
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert fit_defaults.choose_threads(0, None, 1) == 2


def test_busy_processors_are_not_free(monkeypatch):
    for busy, free in ((0.0, usable_cores()), (usable_cores() - 1.0, 1), (99.0, 1)):
        monkeypatch.setattr("os.getloadavg", lambda busy=busy: (busy, 0.0, 0.0))
        assert free_processors() == free


def test_threads_wait_passively_unless_told_otherwise():
    environment = {"KMP_BLOCKTIME": "200"}
    wait_passively(environment)
    assert environment == {"KMP_BLOCKTIME": "200", "OMP_WAIT_POLICY": "PASSIVE"}


def test_own_texture_is_asked_for_resumed_inherited_or_the_bundled_one(tmp_path):
    choose = fit_defaults.choose_own_texture
    assert choose(None, None, None, "photo") == (0.15, 0.5)
    assert choose((0.2, 0.3), {"own_texture": [0.1, 0.1]}, bundled_weights_path(), "photo") == (0.2, 0.3)
    assert choose(None, {"own_texture": [0.1, 0.4]}, bundled_weights_path(), "photo") == (0.1, 0.4)
    bundled = load_weights(bundled_weights_path())
    other = replace(bundled.spec, own_texture=0.05, own_texture_in_woods=0.7)
    save_weights(tmp_path / "other.safetensors", other, bundled.state)
    assert choose(None, None, tmp_path / "other.safetensors", "photo") == (0.05, 0.7)
    pair = ModelSpec.half_scale(gsd_m=0.3)
    save_weights(tmp_path / "pair.safetensors", pair, bundled.state)
    assert choose(None, None, tmp_path / "pair.safetensors", "photo") == (0.15, 0.5)
    with pytest.raises(RunError, match="is for --colours photo"):
        choose((0.2, 0.3), None, None, "network")


@pytest.mark.parametrize(("words", "shares"), [([], (0.15, 0.5)), (["--own-texture", "0.3"], (0.3, 0.3))])
def test_the_weights_of_fit_say_how_much_texture_stays_and_a_resumed_run_too(tmp_path, words, shares):
    site, run = write_site(tmp_path / "town", ("train", "validation"), size=128), tmp_path / "run"
    few = ["--steps", "1", "--batch", "1", "--sizes", "64", "--pixels-only", "--validate-every", "0"]
    arguments = ["fit", str(site), "--out", str(run), "--colours", "photo", "--workers", "1", *few]
    result = CliRunner().invoke(main, [*arguments, *words])
    assert result.exit_code == 0, result.output
    spec = load_weights(run / "last.safetensors").spec
    assert (spec.own_texture, spec.own_texture_in_woods) == shares
    assert json.loads((run / "config.json").read_text())["threads"] >= 1
    result = CliRunner().invoke(main, [*arguments, "--resume"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("shares", ["1.5", "0.1,0.2,0.3", "much"])
def test_shares_of_texture_that_are_none_are_refused(tmp_path, shares):
    words = ["fit", "--out", str(tmp_path / "run"), "--colours", "photo", "--own-texture", shares]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "one or two shares between 0 and 1" in result.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_several_devices_without_a_gpu_are_refused(tmp_path):
    result = CliRunner().invoke(main, ["fit", "--out", str(tmp_path / "run"), "--devices", "2"])
    assert result.exit_code == 2
    assert "leave --devices out" in result.output
    assert not (tmp_path / "run").exists()


def test_weights_that_were_not_exported_are_told():
    fresh = ModelSpec.half_scale()
    (warning,) = fresh.export_warnings
    assert "run orthosharp-train export" in warning
    assert replace(fresh, credit="a town").export_warnings == ()
    assert load_weights(bundled_weights_path()).spec.export_warnings == ()
