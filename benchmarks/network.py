"""Measure the bundled network's speed in each runtime, in megapixels of its input window per second.

Run: .venv/bin/python -m benchmarks.network [--side 1152] [--rounds 7] [--architecture resnet34] [--layers]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.layers import print_tables
from sr_model import (
    ModelSpec,
    Weights,
    bundled_weights_path,
    load_weights,
    multiplications_per_px,
    save_weights,
)
from sr_model.network import build
from sr_model.onnx_model import to_onnx
from sr_model.photo import PhotoContext
from sr_model.pixels import UInt8Array, normalise
from sr_model.runtimes import choose_runtime
from sr_model.shipped import BUNDLED


def megapixels_per_s(work: Callable[[], object], pixels: int, rounds: int) -> list[float]:
    """Return the rate of each round, after one round to warm up."""
    work()
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        rates.append(pixels / 1e6 / (time.perf_counter() - start))
    return rates


def untrained() -> Weights:
    """Return untrained weights of the large network, whose speed does not depend on training."""
    spec = ModelSpec.resnet34()
    with tempfile.TemporaryDirectory() as folder:
        save_weights(Path(folder) / "resnet34.safetensors", spec, build(spec).state_dict())
        return load_weights(Path(folder) / "resnet34.safetensors")


def on_gpu(weights: Weights, window: UInt8Array, rounds: int) -> dict[str, list[float]]:
    """Measure, for several batch sizes, the network alone (input already on the device) and from bytes to bytes."""
    runtime = choose_runtime(weights, device="cuda")
    rates = {}
    for count in (1, 2, 4, 8):
        windows = np.repeat(window, count, 0)
        planes = torch.from_numpy(normalise(windows, weights.spec)).cuda()
        pixels = windows[..., 0].size

        def alone(planes: torch.Tensor = planes) -> None:
            with torch.inference_mode():
                runtime._infer(planes)  # type: ignore[attr-defined]
            torch.cuda.synchronize()

        name = f"{runtime.name}, {count} together"
        rates[f"{name}, network alone"] = megapixels_per_s(alone, pixels, rounds)
        rates[f"{name}, bytes to bytes"] = megapixels_per_s(
            lambda windows=windows: runtime.restore(windows, [PhotoContext()] * len(windows)), pixels, rounds
        )
    return rates


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--side", type=int, default=1152, help="side of the window in px: a metatile with its halo"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--architecture", choices=("half_scale", "resnet34"), default="half_scale")
    parser.add_argument(
        "--layers",
        action="store_true",
        help="measure each layer of both bundled networks instead, on one core",
    )
    options = parser.parse_args()
    if options.layers:
        print_tables(
            {name: load_weights(bundled_weights_path(name)) for name in BUNDLED}, options.side, options.rounds
        )
        return
    weights = load_weights(bundled_weights_path()) if options.architecture == "half_scale" else untrained()
    window = np.random.default_rng(0).integers(0, 256, (1, options.side, options.side, 3)).astype(np.uint8)
    planes, pixels = normalise(window, weights.spec), options.side**2
    ours = choose_runtime(weights, "openvino", "cpu")
    eager = choose_runtime(weights, "torch", "cpu")
    session = onnxruntime.InferenceSession(to_onnx(weights), providers=["CPUExecutionProvider"])
    works: dict[str, Callable[[], object]] = {
        f"{ours.name}, network alone": lambda: ours.forward(planes),
        f"{ours.name}, bytes to bytes": lambda: ours.restore(window, [PhotoContext()]),
        "torch cpu fp32, network alone": lambda: eager.forward(planes),
        "onnxruntime cpu fp32, network alone": lambda: session.run(["output"], {"input": planes}),
    }
    rates = {name: megapixels_per_s(work, pixels, options.rounds) for name, work in works.items()}
    if torch.cuda.is_available():
        rates |= on_gpu(weights, window, options.rounds)
    medians = {name: round(statistics.median(values), 2) for name, values in rates.items()}
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "window_px": options.side,
        "multiplications_per_px": round(multiplications_per_px(weights.spec)),
        "megapixels_per_s": medians,
        "best": {name: round(max(values), 2) for name, values in rates.items()},
        "openvino over": {
            other: round(medians[f"{ours.name}, network alone"] / medians[f"{other}, network alone"], 2)
            for other in ("torch cpu fp32", "onnxruntime cpu fp32")
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
