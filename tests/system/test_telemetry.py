"""Spans of requests, which OpenTelemetry collects where it is asked to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from command_calls import call, refused
from conftest import middle_tile, running_server
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otlp_collector import collecting
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.web.app import create_app

needs_hook = pytest.mark.skipif(
    find_spec("titiler.core.telemetry") is None, reason="this version of titiler.core is older than its hook"
)


@needs_hook
def test_requests_of_layers_are_traced_if_it_is_asked_for(
    make_service: Callable[..., TileService], monkeypatch: pytest.MonkeyPatch
) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr("titiler.core.telemetry.tracer", provider.get_tracer("titiler.core"))
    names: dict[bool, list[str]] = {}
    for asked in (False, True):
        service = make_service(telemetry=asked)
        client = TestClient(create_app(service.settings, service))
        tile = middle_tile(service)
        url = f"/old/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
        assert client.get(url).status_code == 200
        assert client.get("/old/info").status_code == 200
        names[asked] = [span.name for span in spans.get_finished_spans()]
        spans.clear()
    assert names[False] == []
    assert names[True] == ["LayerFactory.formatted", "LayerFactory.info"]


@pytest.mark.parametrize("absent", ["opentelemetry.sdk.trace", "titiler.core.telemetry"])
def test_absent_packages_are_named(photo: Path, monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    monkeypatch.delattr("titiler.core.telemetry", raising=False)
    result = call("serve", photo, "--telemetry", "--port", 0)
    refused(result, "orthosharp[telemetry]", absent)


@pytest.mark.slow
@needs_hook
def test_spans_are_sent_to_a_collector(
    photo: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as received:
        for name, value in received.environment.items():
            monkeypatch.setenv(name, value)
        arguments = ("--weights", tiny_weights, "--runtime", "openvino", "--telemetry")
        with running_server(photo, *arguments) as server:
            assert httpx.get(f"{server.url}/old/info").status_code == 200
            # The first batches may be of other requests, which newer versions of FastAPI trace themselves.
            path, body = received.wait_for(b"LayerFactory.info")
    assert path == "/v1/traces"
    assert b"orthosharp" in body
