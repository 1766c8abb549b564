"""deploy/ray, held against Ray's own schema, Kubernetes' schemas and the applications' arguments."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError

pytest.importorskip("ray")
# Ray declares its own models in a way that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FOLDER = Path(__file__).parents[2] / "deploy" / "ray"
CONFIG = yaml.safe_load((FOLDER / "serve.yaml").read_text(encoding="utf-8"))
SERVICE, POLICY = yaml.safe_load_all((FOLDER / "rayservice.yaml").read_text(encoding="utf-8"))
CLUSTER = SERVICE["spec"]["rayClusterConfig"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
VERSIONS = ("1.30", kubernetes_validate.latest_version())


def test_the_configuration_keeps_to_the_schema_of_ray() -> None:
    from ray.serve.schema import ServeDeploySchema

    checked = ServeDeploySchema.model_validate(CONFIG)
    assert [app.name for app in checked.applications] == ["orthosharp-networks", "orthosharp"]
    misspelt = copy.deepcopy(CONFIG)
    misspelt["applications"][0]["import_pat"] = misspelt["applications"][0].pop("import_path")
    with pytest.raises(ValueError, match="import_path"):
        ServeDeploySchema.model_validate(misspelt)


def test_the_arguments_are_those_of_the_applications() -> None:
    from tileserver.cluster.apps import MAPS, NETWORKS, MapsArgs, NetworksArgs
    from tileserver.settings import Settings

    networks, maps = CONFIG["applications"]
    assert (networks["name"], maps["name"]) == (NETWORKS, MAPS)
    assert NetworksArgs(**networks["args"]).most_replicas == 4
    args = MapsArgs(**maps["args"])
    for own in args.maps.values():
        assert Settings(**args.settings, **own).store == "s3://bucket/tiles"
    with pytest.raises(ValidationError):
        MapsArgs(**maps["args"], replica=3)


def test_the_applications_are_built_from_their_arguments(photo: Path, tiny_weights: Path) -> None:
    from tileserver.cluster.apps import maps, networks
    from tileserver.errors import SettingsError

    assert networks(CONFIG["applications"][0]["args"])
    own = {"source": str(photo), "weights": str(tiny_weights)}
    assert maps({"maps": {"y1998": own}, "replicas": 1})
    with pytest.raises(SettingsError, match="networks: replica: "):
        networks({"replica": 1})
    with pytest.raises(SettingsError, match=r"maps\.y1998: port: "):
        maps({"maps": {"y1998": {**own, "port": "x"}}})


def test_kuberay_gets_the_same_configuration() -> None:
    assert yaml.safe_load(SERVICE["spec"]["serveConfigV2"]) == CONFIG
    import ray

    assert CLUSTER["rayVersion"].split(".")[0] == ray.__version__.split(".")[0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("group", GROUPS, ids=["head", "workers"])
def test_pods_keep_to_the_schema_of_kubernetes(group: dict[str, Any], version: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **group["template"]}
    kubernetes_validate.validate(pod, version, strict=True)
    kubernetes_validate.validate(POLICY, version, strict=True)
    misspelt = copy.deepcopy(pod)
    misspelt["spec"]["containerz"] = misspelt["spec"].pop("containers")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, version, strict=True)


def test_networks_fit_onto_the_workers() -> None:
    limits = GROUPS[1]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert CONFIG["applications"][0]["args"]["gpus"] <= float(limits["nvidia.com/gpu"])
