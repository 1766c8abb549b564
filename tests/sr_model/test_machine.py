"""Cores and memory are those of the container, not of the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sr_model import machine


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this process's cgroups, without any limits, and eight cores to run on."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_without_limits_the_machine_counts(cgroup: Path) -> None:
    write(cgroup, cpu__max="max 100000\n", memory__max="max\n")
    assert machine.usable_cores() == 8
    assert machine.quota_cores() is None
    assert machine.usable_memory_bytes() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_affinity_counts(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5}, raising=False)
    assert machine.usable_cores() == 1


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("150000", 2), ("400000", 4), ("1600000", 8)])
def test_a_quota_counts(cgroup: Path, quota: str, cores: int) -> None:
    write(cgroup, cpu__max=f"{quota} 100000\n", memory__max="536870912\n")
    assert machine.usable_cores() == cores
    assert machine.usable_memory_bytes() == 512 * 2**20


def test_the_tightest_limit_of_all_groups_above_counts(cgroup: Path) -> None:
    (cgroup / "own").write_text("0::/pods/one\n")
    write(cgroup / "pods", cpu__max="200000 100000\n", memory__max="1000000\n")
    write(cgroup / "pods" / "one", cpu__max="700000 100000\n", memory__max="2000000\n")
    assert (machine.usable_cores(), machine.usable_memory_bytes()) == (2, 1_000_000)


def test_version_1_counts(cgroup: Path) -> None:
    (cgroup / "own").write_text("4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n")
    write(cgroup / "cpu,cpuacct" / "docker" / "a", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    write(cgroup / "memory" / "docker" / "a", memory__limit_in_bytes="3000000")
    write(cgroup / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    # What version 1 says instead of "none".
    write(cgroup / "memory", memory__limit_in_bytes=str(2**63 - 4096))
    assert (machine.usable_cores(), machine.usable_memory_bytes()) == (3, 3_000_000)


def test_controllers_that_are_mounted_together_count_in_either_order(cgroup: Path) -> None:
    (cgroup / "own").write_text("3:cpuacct,cpu:/docker/a\n")
    write(cgroup / "cpuacct,cpu" / "docker" / "a", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    assert machine.usable_cores() == 3
    write(cgroup / "cpuacct,cpu", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    assert machine.usable_cores() == 1


def test_nothing_counts_the_cores_of_the_host() -> None:
    root = Path(__file__).parents[2]
    for package in ("sr_model", "tileserver", "training"):
        for path in (root / package).rglob("*.py"):
            if path.name != "machine.py":
                text = path.read_text(encoding="utf-8")
                assert "cpu_count" not in text, path
                assert "sched_getaffinity" not in text, path
