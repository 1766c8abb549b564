"""Prometheus metrics, in a registry of their own: two applications in one process do not share counters."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sr_model.atomic import replacing
from tileserver.stages import Stages

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# Only these become labels: layer names come from request paths, and clients can make up any number of them.
_LAYERS = frozenset({"restored", "old", "new", "difference"})
# Interval at which processes that answer requests together leave their figures for each other.
_SHARE_S = 2.0


class Metrics:
    """Counters, gauges and histograms of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._folder: Path | None = None
        self.inferences = self._counter("inferences", "Metatiles restored by the network")
        self.requests = self._counter("requests", "Responses by layer and HTTP status", "layer", "status")
        self.lookups = self._counter("cache_lookups", "Lookups of tiles and metatiles", "cache", "result")
        self._lookups: dict[tuple[str, str], Counter] = {}
        self._responses: dict[tuple[str, int], Counter] = {}  # looking up a label takes longer than counting
        self.store_errors = self._counter("store_errors", "Failed operations of the tile store", "kind")
        self.overloads = self._counter("overloads", "Responses with 503: full queues and passed deadlines")
        self._stage = Histogram(
            "orthosharp_stage_seconds",
            "Time spent on rendered tiles, by stage",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Publish a gauge whose value is computed when /metrics is requested."""
        Gauge(f"orthosharp_{name}", text, registry=self._registry).set_function(value)

    def observe(self, stages: Stages) -> None:
        """Record how long each stage of a rendered tile took."""
        for stage, seconds in stages.seconds.items():
            self._stage.labels(stage).observe(seconds)

    def count_response(self, path: str, status: int) -> None:
        """Count an HTTP response under its layer."""
        first = path.split("/")[1] if "/" in path else ""
        layer = "restored" if first == "tiles" else first if first in _LAYERS else "none"
        counter = self._responses.get((layer, status))
        if counter is None:
            counter = self._responses[layer, status] = self.requests.labels(layer, str(status))
        counter.inc()
        if status == 503 and path != "/readyz":
            self.overloads.inc()

    def count_lookup(self, cache: str, result: str) -> None:
        """Count a cache lookup; `result` is hit or miss."""
        counter = self._lookups.get((cache, result))
        if counter is None:
            counter = self._lookups[cache, result] = self.lookups.labels(cache, result)
        counter.inc()

    def count_store_error(self, kind: str) -> None:
        """Count a failed operation of the tile store."""
        self.store_errors.labels(kind).inc()

    def share(self, folder: Path) -> None:
        """Leave the figures of this process in a folder every few seconds, and add those of others there to ours.

        Args:
            folder: of the processes that answer requests together; a file by its process id is that process's.
        """
        self._folder = folder
        threading.Thread(target=self._write_for_ever, name="metrics", daemon=True).start()

    def exposition(self) -> bytes:
        """Return the text of /metrics: of all processes that share a folder, those of others seconds old."""
        own = generate_latest(self._registry)
        if self._folder is None:
            return own
        texts = [own]
        for path in self._folder.iterdir():
            if path.name.isdecimal() and path.name != str(os.getpid()):
                with contextlib.suppress(FileNotFoundError):  # the process has just ended
                    texts.append(path.read_bytes())
        return summed(texts)

    def _write_for_ever(self) -> None:
        assert self._folder is not None
        while True:
            # The folder is removed at the end, perhaps before this process ends.
            with contextlib.suppress(OSError), replacing(self._folder / str(os.getpid())) as path:
                path.write_bytes(generate_latest(self._registry))
            time.sleep(_SHARE_S)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"orthosharp_{name}", text, labels, registry=self._registry)


def summed(texts: Iterable[bytes]) -> bytes:
    """Add up expositions of several processes, sample by sample.

    Of the times at which counters began, the first is kept.

    Args:
        texts: in Prometheus' text format, as `generate_latest` writes it.
    """
    families: dict[str, dict[str, float]] = {}
    heads: dict[str, list[str]] = {}
    family = ""
    for text in texts:
        for line in text.decode().splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head:
                    head.append(line)
                continue
            name, _, value = line.rpartition(" ")
            values = families.setdefault(family, {})
            before, number = values.get(name), float(value)
            add = min if family.endswith("_created") else sum
            values[name] = number if before is None else add((before, number))
    lines = []
    for name, head in heads.items():
        lines += [*head, *(f"{sample} {value!r}" for sample, value in families.get(name, {}).items())]
    return "".join(f"{line}\n" for line in lines).encode()
