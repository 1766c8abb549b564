"""Runs that are processes of their own: killed outright, and on two devices."""

import csv
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image
from training_data import make_ground, old_and_new, write_vgg

from sr_model import load_weights
from training.fit.checkpoint import saved_step
from training.fit.config import FitConfig, LossWeights
from training.pairs.make import make_pairs

pytestmark = pytest.mark.slow

STEPS, EVERY = 48, 4
TIME_LIMIT_S = 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    make_pairs(*old_and_new(folder, 640), folder / "pairs", size_px=128, max_shift_m=4.0, min_confidence=0.0)
    Image.fromarray(make_ground(8, 256).astype(np.uint8)).save(folder / "sharp.png")
    write_vgg(folder / "vgg.safetensors")
    return folder


def command(folder, run, *more):
    options = {
        "--out": run,
        "--perceptual": folder / "vgg.safetensors",
        "--degrade": folder / "sharp.png",
        "--aged-share": 0.5,
        "--steps": STEPS,
        "--every": EVERY,
        "--validate-every": 12,
        "--batch": 2,
        "--sizes": "64,96",
        "--seed": 7,
        "--threads": 1,
    }
    flat = [str(word) for option in options.items() for word in option]
    return [sys.executable, "-m", "training.cli.main", "fit", str(folder / "pairs"), *flat, *more]


def curve(run):
    """Every logged loss by step and term; of a run that was resumed, what followed the resumption counts."""
    merged = {}
    for path in sorted((run / "metrics").iterdir(), key=lambda path: int(path.name.removeprefix("from_"))):
        with (path / "metrics.csv").open() as file:
            for row in csv.DictReader(file):
                terms = {name: text for name, text in row.items() if name.startswith("loss/") and text}
                if terms:
                    merged[int(row["step"])] = terms
    return merged


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(folder, tmp_path):
    subprocess.run(command(folder, tmp_path / "whole"), check=True, timeout=TIME_LIMIT_S)

    killed_after = random.SystemRandom().randint(EVERY, STEPS - 5 * EVERY)
    print(f"killed when step {killed_after} was saved, or soon after")  # noqa: T201
    run = tmp_path / "killed"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command(folder, run), stdout=log, stderr=log)
        deadline = time.monotonic() + TIME_LIMIT_S
        while saved_step(run) < killed_after:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        assert process.wait() == -9
    assert saved_step(run) < STEPS

    subprocess.run(command(folder, run, "--resume"), check=True, timeout=TIME_LIMIT_S)
    assert set(curve(run)) == set(range(EVERY, STEPS + 1, EVERY))
    assert curve(run) == curve(tmp_path / "whole")
    for name in ("last.safetensors", "best.safetensors"):
        assert load_weights(run / name).digest == load_weights(tmp_path / "whole" / name).digest
    scores = [(tmp_path / name / "validation.jsonl").read_text() for name in ("whole", "killed")]
    assert scores[0] == scores[1]
    assert len(scores[0].splitlines()) == STEPS // 12


TWO_DEVICES = """
import json, sys
from pathlib import Path
from lightning.fabric.utilities import rank_zero_only
from sr_model.weights import content_digest
from training.fit.config import FitConfig, LossWeights
from training.fit.run import fit

run = Path(sys.argv[1])
choices = json.loads((run / "choices.json").read_text())

seen = []

def note(module, batch):
    seen.extend(int(crop.long().sum()) for crop in batch[1])
    parts = (module.network, module.average.module, module.discriminator)
    digests = [content_digest(module.spec, part.state_dict()) for part in parts]
    found = {"seen": seen, "digests": digests, "step": module.step}
    (run / f"rank{rank_zero_only.rank}.json").write_text(json.dumps(found))

choices["loss"] = LossWeights(**choices["loss"])
fit(FitConfig(**choices), run / "run", after_step=[note])
"""


def test_two_devices_see_other_crops_and_keep_equal_weights(folder, tmp_path):
    config = FitConfig(
        pairs=(str(folder / "pairs"),),
        perceptual=str(folder / "vgg.safetensors"),
        steps=6,
        batch=2,
        sizes_px=(64,),
        devices=2,
        validate_every=3,
        precision="32-true",
        loss=LossWeights(),
    )
    (tmp_path / "choices.json").write_text(json.dumps(asdict(config)))
    (tmp_path / "two.py").write_text(TWO_DEVICES)
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, str(tmp_path / "two.py"), str(tmp_path)]
    subprocess.run(arguments, check=True, timeout=TIME_LIMIT_S, env=environment)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["step"] == second["step"] == 6
    assert first["digests"] == second["digests"]
    assert len(first["seen"]) == len(second["seen"]) == 12
    assert not set(first["seen"]) & set(second["seen"])
    trained = load_weights(tmp_path / "run" / "last.safetensors")
    assert trained.digest == first["digests"][1]
