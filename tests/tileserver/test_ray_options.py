"""What the commands do about --ray without a cluster."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_calls import call, refused, restore, seed

from sr_model import load_weights
from tileserver.cli.ray_options import with_absolute_paths
from tileserver.cluster.host import NetworkHost, WantedNetwork
from tileserver.cluster.membership import check_identity, check_settings
from tileserver.errors import ClusterError
from tileserver.service import identify
from tileserver.settings import Settings


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Ray was not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "tileserver.cli.ray_options.find_spec", lambda name: None if name.startswith("ray") else find(name)
    )


@pytest.mark.usefixtures("no_ray")
def test_absent_ray_is_named_with_its_extra(photo: Path, tiny_weights: Path, tmp_path: Path) -> None:
    for command, output in ((seed, "a.mbtiles"), (restore, "a.tif")):
        result = command(photo, tmp_path / output, tiny_weights, "--ray", "local")
        refused(result, 'pip install "orthosharp[ray]"')
    assert not list(tmp_path.iterdir())


def test_workers_of_one_machine_are_refused_on_a_cluster(photo: Path, tmp_path: Path) -> None:
    result = call("serve", photo, "--ray", "local", "--workers", "2", "--store", tmp_path)
    refused(result, "with --ray, use --replicas")


def test_no_command_imports_ray_unasked() -> None:
    program = "import sys, tileserver.cli.main; sys.exit('ray' in sys.modules or 'grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


def test_files_are_named_in_full_and_addresses_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = with_absolute_paths(
        Settings(
            source="old.tif",
            new="https://example.org/new.tif",
            weights=Path("a/b.safetensors"),
            store="s3://tiles",
        )
    )
    assert settings.source == str(tmp_path / "old.tif")
    assert settings.weights == tmp_path / "a/b.safetensors"
    assert (settings.new, settings.store) == ("https://example.org/new.tif", "s3://tiles")
    assert with_absolute_paths(Settings(source="old.tif", weights=Path("small"))).weights == Path("small")
    sheets = with_absolute_paths(Settings(source=("a.tif", "/b.tif")))
    assert sheets.source == (str(tmp_path / "a.tif"), "/b.tif")


def test_a_host_with_other_weights_refuses_to_open_them(tiny_weights: Path) -> None:
    digest = load_weights(tiny_weights).digest
    assert NetworkHost().get(WantedNetwork(digest, tiny_weights, "torch", "cpu")).digest == digest
    with pytest.raises(ClusterError, match=f"{digest[:12]}, not 000000000000.*new weights a new name"):
        NetworkHost().get(WantedNetwork("0" * 64, tiny_weights, "torch", "cpu"))


def test_a_host_that_would_make_other_tiles_says_in_what_they_differ(photo: Path, tiny_weights: Path) -> None:
    mine = identify(Settings(source=str(photo), weights=tiny_weights))
    check_identity(mine, mine)
    with pytest.raises(ClusterError, match=r"weights: .*, not 000000000000"):
        check_identity(mine, replace(mine, weights="0" * 64))
    with pytest.raises(ClusterError, match=r"y1998: .*the recipe: bands"):
        check_identity(mine, replace(mine, content="0" * 64, seeded_content="0" * 64), "y1998")
    with pytest.raises(ClusterError, match="later photograph"):
        check_identity(mine, replace(mine, content="0" * 64))
    check_settings({"grid": "own", "window": [0]}, {"grid": "own"})
    with pytest.raises(ClusterError, match="runtime: torch, not openvino"):
        check_settings({"runtime": "torch"}, {"runtime": "openvino"})
