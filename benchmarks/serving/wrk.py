"""Run wrk, which requests much faster than a Python client and takes less from the server under test."""

from __future__ import annotations

import re
import subprocess


def wrk(url: str, seconds: float, *options: str) -> dict[str, float]:
    """Run wrk; return requests per second and the 99th percentile of the latency in milliseconds."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", "--latency", *options, url]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text)
    assert rate, text
    assert slow, text
    milliseconds = float(slow[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[slow[2]]
    return {"per_s": float(rate[1]), "p99_ms": milliseconds}
