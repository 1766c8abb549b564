"""The manifests in deploy/kubernetes, held against Kubernetes' schemas, each other and the server."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import click
import httpx
import kubernetes_validate
import pytest
import yaml
from conftest import running_server

from tileserver.cli.commands import serve
from tileserver.settings import Settings

ROOT = Path(__file__).parents[2]
# The oldest and the newest version that they are checked for.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
MANIFESTS = {
    manifest["kind"]: manifest
    for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))
}
POD = MANIFESTS["Deployment"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
def test_manifests_keep_to_the_schema(kind: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[kind], version, strict=True)
    misspelt: dict[str, Any] = copy.deepcopy(MANIFESTS[kind])
    misspelt["spec"]["selektor"] = misspelt["spec"].pop("selector")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, version, strict=True)


def test_they_mean_the_same_pods() -> None:
    labels = POD["metadata"]["labels"]
    assert MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels
    assert (
        MANIFESTS["PodDisruptionBudget"]["spec"]["minAvailable"] < MANIFESTS["Deployment"]["spec"]["replicas"]
    )
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {"http": Settings.model_fields["port"].default}
    assert MANIFESTS["Service"]["spec"]["ports"][0]["targetPort"] in ports
    volumes = {volume["name"] for volume in POD["spec"]["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == volumes


def test_the_name_of_the_service_does_not_become_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets NAME_PORT=tcp://... for each service of the namespace, unless it is told not to."""
    name = MANIFESTS["Service"]["metadata"]["name"].upper()
    monkeypatch.setenv(f"{name}_PORT", "tcp://10.0.0.1:80")
    with pytest.raises(ValueError, match="port"):
        Settings(source="a.tif")
    assert POD["spec"]["enableServiceLinks"] is False


def test_a_pod_has_time_to_end() -> None:
    pause_s = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert (
        POD["spec"]["terminationGracePeriodSeconds"] > pause_s + Settings.model_fields["deadline_s"].default
    )


def test_a_pod_may_do_nothing_but_serve() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert f"--uid {POD['spec']['securityContext']['runAsUser']} " in (ROOT / "Dockerfile").read_text()
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_server_takes_the_options_of_manifests_and_compose() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for command in (CONTAINER["args"], services["orthosharp"]["command"]):
        assert command[0] == serve.name
        given = serve.make_context("serve", command[1:]).params
        assert given["log_format"] == "json"
        assert given["source"]
        with pytest.raises(click.UsageError):
            serve.make_context("serve", [*command[1:], "--no-such-option"])


@pytest.mark.slow
def test_probes_and_figures_are_where_the_manifests_say(photo: Path, tiny_weights: Path) -> None:
    paths = [CONTAINER[probe]["httpGet"]["path"] for probe in PROBES]
    with running_server(photo, "--weights", tiny_weights, "--runtime", "openvino") as server:
        for path in (*paths, POD["metadata"]["annotations"]["prometheus.io/path"]):
            assert httpx.get(server.url + path, timeout=30).status_code == 200
