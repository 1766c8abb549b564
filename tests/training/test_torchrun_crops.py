"""Two processes that torchrun starts take the steps of one on the same crops, within the rounding of float32."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.slow

# The network of a run, its devices and its optimiser step, on crops that are the same however they are shared out. (The
# crops of `orthosharp-train fit` are turned and aged by draws of each process's own.)
TRAIN = """
import sys
import torch
from sr_model import ModelSpec
from sr_model.network import build
from training.fit.config import FitConfig
from training.fit.run import make_fabric

processes, out = int(sys.argv[1]), sys.argv[2]
GLOBAL_BATCH, STEPS = 4, 6
config = FitConfig(pairs=("none",), devices=processes, batch=GLOBAL_BATCH // processes, precision="32-true")
fabric = make_fabric(config)
fabric.launch()
assert fabric.world_size == processes
torch.manual_seed(5)
spec = ModelSpec.compact(width=8, blocks=1, halo_px=32, name="tiny")
network = build(spec)
optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
shared, optimiser = fabric.setup(network, optimiser)
shared.mark_forward_method("correction")
draws = torch.Generator().manual_seed(11)
for _ in range(STEPS):
    planes = torch.randn(GLOBAL_BATCH, spec.planes, 64, 64, generator=draws)
    wanted = torch.randn(GLOBAL_BATCH, 3, 64, 64, generator=draws)
    own = slice(fabric.global_rank * config.batch, (fabric.global_rank + 1) * config.batch)
    optimiser.zero_grad()
    loss = (shared.correction(planes[own]) - wanted[own]).square().mean()
    fabric.backward(loss)
    optimiser.step()
if fabric.is_global_zero:
    torch.save(network.state_dict(), out)
"""


def test_two_processes_make_the_weights_of_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    for processes in (1, 2):
        subprocess.run(
            [
                *torchrun,
                f"--nproc-per-node={processes}",
                script,
                str(processes),
                tmp_path / f"{processes}.pt",
            ],
            check=True,
            timeout=300,
            env=environment,
        )
    one, two = (torch.load(tmp_path / f"{count}.pt", weights_only=True) for count in (1, 2))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=2e-5, msg=name)
