"""The rules of Prometheus and the dashboard of Grafana in deploy/, held against promtool and a server's own figures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import middle_tile
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tileserver.service import TileService
from tileserver.web.app import create_app

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "orthosharp.json"
PROMTOOL = shutil.which("promtool")
with_promtool = pytest.mark.skipif(PROMTOOL is None, reason="Debian: apt-get install prometheus")
# A metric, the labels that select its series, and those that an aggregation around it keeps.
_SELECTOR = re.compile(r"\b(orthosharp_\w+)(?:\{(.*?)\})?(?=[\[\s)=,]|$)")
_LABEL = re.compile(r'(\w+)(=~|!=|!~|=)"(.*?)"')
_KEPT = re.compile(r"\bby \((.*?)\)")
# Labels that Prometheus adds.
_OF_PROMETHEUS = {"instance", "job"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    variables = [one["definition"] for one in dashboard()["templating"]["list"] if "definition" in one]
    return [*panels, *variables, *(rule["expr"] for rule in alerts())]


@pytest.fixture
def figures(make_service: Callable[..., TileService], tmp_path: Path) -> dict[str, dict[str, set[str]]]:
    """Every metric of a server with a store that has answered requests: the values that each of its labels has."""
    service = make_service(store=str(tmp_path), cache_bytes=0)
    client = TestClient(create_app(service.settings, service))
    tile = middle_tile(service)
    for _ in range(2):
        assert client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png").status_code == 200
    damage_store(tmp_path)
    assert client.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.png").status_code == 200
    assert client.get("/nothing").status_code == 404
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    return found


def damage_store(folder: Path) -> None:
    """Shorten every stored tile, once the writes in the background have happened."""
    deadline = time.monotonic() + 30
    while not (tiles := list(folder.rglob("*.png"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for path in tiles:
        path.write_bytes(path.read_bytes()[:-5])


def test_every_metric_and_label_is_one_that_the_server_has(figures: dict[str, dict[str, set[str]]]) -> None:
    assert len(expressions()) > 15
    for expression in expressions():
        selectors = _SELECTOR.findall(expression)
        for name, labels in selectors:
            assert name in figures, expression
            for label, operator, value in _LABEL.findall(labels):
                if label in _OF_PROMETHEUS:
                    continue
                assert label in figures[name], expression
                if operator == "=":
                    assert value in figures[name][label], expression
        kept = {label for group in _KEPT.findall(expression) for label in re.split(r",\s*", group)}
        known = {label for name, _ in selectors for label in figures[name]} | _OF_PROMETHEUS
        assert kept <= known, expression


def test_every_metric_of_the_server_is_on_the_dashboard(figures: dict[str, dict[str, set[str]]]) -> None:
    text = " ".join(target["expr"] for panel in dashboard()["panels"] for target in panel["targets"])
    names = {name for name in figures if not name.endswith(("_created", "_sum", "_count"))}
    assert len(names) >= 9
    assert {name for name in names if name not in text} == set()


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert all(panel["title"] and panel["description"].endswith(".") for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_every_alert_is_explained() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(Orthosharp\w+)` \|", page, re.MULTILINE)
    assert explained == [rule["alert"] for rule in alerts()]


@with_promtool
def test_promtool_accepts_the_configuration() -> None:
    command = [str(PROMTOOL), "check", "config", str(RULES.with_name("prometheus.yml"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


@with_promtool
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    cases = Path(__file__).with_name("prometheus_alerts.yml")
    for path in (RULES, cases):
        shutil.copy(path, tmp_path)
    command = [str(PROMTOOL), "test", "rules", str(tmp_path / cases.name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = {
        test["alertname"]
        for case in yaml.safe_load(cases.read_text())["tests"]
        for test in case["alert_rule_test"]
    }
    assert tested == {rule["alert"] for rule in alerts()}


def test_the_parts_of_compose_fit_together() -> None:
    """Files that are mounted exist, the names of hosts are those of services, and only nginx is published."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    mounts = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])]
    folders = [mount for mount in mounts if mount.startswith("./")]
    assert len(folders) >= 5
    assert [mount for mount in folders if not (ROOT / mount).exists()] == []
    hosts = {
        *re.findall(r"server (\w+):8000;", (ROOT / "deploy/nginx/compose.conf").read_text()),
        *re.findall(r'"(\w+):8000"', RULES.with_name("prometheus.yml").read_text()),
        *re.findall(
            r"http://(\w+):9090",
            (ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml").read_text(),
        ),
    }
    assert hosts == {"orthosharp", "prometheus"}
    assert hosts <= services.keys()
    assert "ports" not in services["orthosharp"], "only nginx is published"
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert all("127.0.0.1:" in port for port in published)
