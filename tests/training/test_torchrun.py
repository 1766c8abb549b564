"""`orthosharp-train fit` in two processes that torchrun starts, and in one with the batch of both."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from training_data import write_site, write_vgg

from sr_model.weights import load_weights

pytestmark = pytest.mark.slow

CHOICES = (
    *("--steps", "6", "--sizes", "64", "--lr", "1e-3", "--ema", "0.5", "--aged-share", "0.5"),
    *("--precision", "32-true", "--threads", "1", "--workers", "1", "--validate-every", "0"),
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pairs, and weights of VGG."""
    folder = tmp_path_factory.mktemp("torchrun")
    write_site(folder / "pairs", ["train", "train", "val"], size=160)
    write_vgg(folder / "vgg.safetensors")
    return folder


def train(folder, run, launcher, *choices):
    """Run the command; returns the weights."""
    program = [sys.executable, *launcher, "-m", "training.cli.entry", "fit", folder / "pairs", "--out", run]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    subprocess.run(list(map(str, [*program, *CHOICES, *choices])), check=True, timeout=400, env=environment)
    return load_weights(run / "last.safetensors").state


@pytest.mark.parametrize("kind", ["pixels", "perceptual"])
def test_two_processes_make_the_weights_of_one(folder, tmp_path, kind):
    loss = ["--pixels-only"] if kind == "pixels" else ["--perceptual", folder / "vgg.safetensors"]
    one = train(folder, tmp_path / "one", (), *loss, "--batch", 8)
    two = train(folder, tmp_path / "two", TORCHRUN, *loss, "--batch", 4, "--devices", 2)
    start = train(folder, tmp_path / "start", (), *loss, "--batch", 8, "--steps", 1)
    assert one.keys() == two.keys() == start.keys()
    learnt, apart = (
        torch.cat([(one[name] - other[name]).flatten() for name in one]) for other in (start, two)
    )
    assert float(learnt.abs().max()) > 2e-3
    # Adam's steps do not shrink with the gradient, so that rounding shows where a gradient is next to nothing.
    assert float(apart.norm() / learnt.norm()) < 0.01
