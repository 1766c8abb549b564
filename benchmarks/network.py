"""How fast the bundled network is through each runtime, as megapixels of output per second.

Run: .venv/bin/python benchmarks/network.py [--side 1152] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

from sr_model import Restorer, bundled_weights_path, load_weights
from sr_model.pixels import normalise
from sr_model.runtimes import choose_runtime


def megapixels_per_s(work: Callable[[], object], pixels: int, rounds: int) -> list[float]:
    """One warm-up, then a rate per round."""
    work()
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        rates.append(pixels / 1e6 / (time.perf_counter() - start))
    return rates


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1152, help="window in px; a metatile with its halo")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    weights = load_weights(bundled_weights_path())
    window = np.random.default_rng(0).integers(0, 256, (1, options.side, options.side, 3)).astype(np.uint8)
    planes, pixels = normalise(window, weights.spec), options.side**2
    onnx, torch_cpu = (choose_runtime(weights, name, "cpu") for name in ("onnx", "torch"))
    restorer = Restorer.from_weights(weights, runtime="onnx")
    rates = {
        "onnxruntime, network alone": megapixels_per_s(lambda: onnx.forward(planes), pixels, options.rounds),
        "onnxruntime, bytes to bytes": megapixels_per_s(
            lambda: restorer.restore(window), pixels, options.rounds
        ),
        "torch, network alone": megapixels_per_s(lambda: torch_cpu.forward(planes), pixels, options.rounds),
    }
    medians = {name: round(statistics.median(values), 2) for name, values in rates.items()}
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "window_px": options.side,
        "megapixels_per_s": medians,
        "best": {name: round(max(values), 2) for name, values in rates.items()},
        "onnxruntime over torch": round(
            medians["onnxruntime, network alone"] / medians["torch, network alone"], 2
        ),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
