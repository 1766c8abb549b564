"""Prometheus metrics, in a registry of their own: two applications in one process do not share counters."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tileserver.stages import Stages

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# Only these become labels: layer names come from request paths, and clients can make up any number of them.
_LAYERS = frozenset({"restored", "old", "new", "difference"})


class Metrics:
    """Counters, gauges and histograms of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
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

    def exposition(self) -> bytes:
        """Return the text of /metrics."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"orthosharp_{name}", text, labels, registry=self._registry)
