"""Seeding and restoring on a real cluster of this machine: equal bytes, also after a kill or a stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from archive_contents import contents
from conftest import Photo, clean_environment, command_line, free_port, write_photo

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

LIMIT_S = 400
OPTIONS = ("--runtime", "openvino", "--json")
SEED = ("--zooms", "13-18", "--format", "jpg")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of several ranges of metatiles, with a hole."""
    return write_photo(
        tmp_path_factory.mktemp("jobs") / "old.tif", Photo(width=1800, height=1800, hole="mask")
    )


def start(*arguments: object, **variables: str) -> subprocess.Popen[str]:
    environment = {**clean_environment(), **variables}
    return subprocess.Popen(
        command_line(*arguments, *OPTIONS), stdout=subprocess.PIPE, text=True, env=environment
    )


def finish(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """What a command reported in the end."""
    output, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def wait_for_units(process: subprocess.Popen[str], units: int) -> None:
    assert process.stdout
    for line in process.stdout:
        if json.loads(line).get("units", 0) >= units:
            return
    raise AssertionError("it ended before")


def workers(process: subprocess.Popen[str], title: str) -> list[int]:
    """Processes of the cluster with this title that the command has started."""
    listing = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    parents = {int(pid): int(parent) for pid, parent, *_ in rows}

    def is_ours(pid: int) -> bool:
        while pid in parents and pid != process.pid:
            pid = parents[pid]
        return pid == process.pid

    return [int(row[0]) for row in rows if row[2:] and row[2].startswith(title) and is_ours(int(row[0]))]


@pytest.fixture(scope="module")
def on_one_machine(photo: Path, tiny_weights: Path) -> Path:
    output = photo.with_name("one.mbtiles")
    finish(start("seed", photo, output, "--weights", tiny_weights, *SEED))
    return output


def test_a_killed_worker_and_a_killed_network_change_nothing(
    photo: Path, tiny_weights: Path, on_one_machine: Path
) -> None:
    output = photo.with_name("killed.mbtiles")
    process = start(
        "seed", photo, output, "--weights", tiny_weights, *SEED, "--ray", "local", "--networks", 2
    )
    wait_for_units(process, 3)
    for title in ("ray::seed_range", "ray::NetworkActor"):
        found = workers(process, title)
        assert found, title
        os.kill(found[0], signal.SIGKILL)
    done = finish(process)[-1]
    assert done["event"] == "done"
    assert done["failures"] == 0
    assert contents(output) == contents(on_one_machine)


def test_a_run_that_is_stopped_goes_on_where_it_was_on_one_machine(
    photo: Path, tiny_weights: Path, on_one_machine: Path
) -> None:
    output = photo.with_name("stopped.mbtiles")
    arguments = ("seed", photo, output, "--weights", tiny_weights, *SEED)
    process = start(*arguments, "--ray", "local")
    wait_for_units(process, 4)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert not output.exists()
    lines = finish(start(*arguments))
    first = next(line for line in lines if line["event"] == "progress")
    # Two of them are of the run before, at least.
    assert int(str(first["units"])) - int(str(first["units_made"])) >= 2
    assert contents(output) == contents(on_one_machine)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, object]]:
    """A bucket of an S3 server on this machine."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="tiles")
    yield "s3://tiles/old", client
    client.close()
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_workers_write_to_a_bucket_what_one_machine_writes_to_a_folder(
    photo: Path, tiny_weights: Path, bucket: tuple[str, object], tmp_path: Path
) -> None:
    url, client = bucket
    options = ("--weights", tiny_weights, "--zooms", "16-17", "--format", "jpg")
    finish(start("seed", photo, tmp_path / "folder", *options))
    process = subprocess.Popen(
        command_line("seed", photo, url, *options, *OPTIONS, "--ray", "local"),
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
        cwd=tmp_path,  # for the journal
    )
    finish(process)
    names = {
        path.relative_to(tmp_path / "folder").as_posix(): path.read_bytes()
        for path in (tmp_path / "folder").rglob("*.jpg")
    }
    found: dict[str, bytes] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="tiles"):  # type: ignore[attr-defined]
        for item in page.get("Contents", []):
            body = client.get_object(Bucket="tiles", Key=item["Key"])["Body"].read()  # type: ignore[attr-defined]
            found[item["Key"].removeprefix("old/")] = body
    assert len(names) > 20
    assert {name: body for name, body in found.items() if name.endswith(".jpg")} == names
    assert "tilejson.json" in found


def test_a_raster_has_the_same_pixels(photo: Path, tiny_weights: Path, tmp_path: Path) -> None:
    rasters = []
    for name, more in (("one", ()), ("cluster", ("--ray", "local", "--networks", 2))):
        finish(start("restore", photo, tmp_path / f"{name}.tif", "--weights", tiny_weights, *more))
        with rasterio.open(tmp_path / f"{name}.tif") as dataset:
            rasters.append((dataset.read(), dataset.dataset_mask(), dataset.transform))
    assert np.array_equal(rasters[0][0], rasters[1][0])
    assert np.array_equal(rasters[0][1], rasters[1][1])
    assert rasters[0][2] == rasters[1][2]


@dataclass
class Head:
    """The head of a cluster that was started beforehand, with four processors."""

    process: subprocess.Popen[bytes]
    address: str
    token: str


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """`ray start --head` on the loopback interface alone, with a token."""
    port, token = free_port(), "5ca1ab1e" * 8
    # The paths of its sockets have to be short.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    environment = {
        **clean_environment(),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    options = [
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        f"--ray-client-server-port={free_port()}",
        "--num-cpus=4",
        "--include-dashboard=false",
        "--object-store-memory=200000000",
        f"--temp-dir={folder}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options],
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        deadline = time.monotonic() + LIMIT_S
        while "runtime started" not in (folder / "log").read_text():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield Head(process, f"127.0.0.1:{port}", token)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_that_runs_already_works_with_all_of_its_processors(
    head: Head, tiny_weights: Path, tmp_path: Path
) -> None:
    photo = write_photo(tmp_path / "wide.tif", Photo(width=3600, height=2200))
    arguments = ("seed", photo)
    options = ("--weights", tiny_weights, "--zooms", "18-18", "--format", "jpg")
    finish(start(*arguments, tmp_path / "one.mbtiles", *options))
    process = start(
        *arguments,
        tmp_path / "cluster.mbtiles",
        *options,
        "--ray",
        head.address,
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=head.token,
    )
    most = 0
    while process.poll() is None:
        most = max(most, len(workers(head.process, "ray::seed_range")))
        time.sleep(0.2)
    finish(process)
    assert contents(tmp_path / "cluster.mbtiles") == contents(tmp_path / "one.mbtiles")
    # There is one network, for which two ranges at a time would do.
    assert most == 4


def test_a_cluster_that_asks_for_a_token_says_so_within_seconds(
    head: Head, photo: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    said = refusal("seed", photo, tmp_path / "a.mbtiles", "--weights", tiny_weights, "--ray", head.address)
    assert "asks for a token: set RAY_AUTH_MODE=token" in said


@pytest.mark.parametrize("command", ["seed", "serve"])
def test_an_address_that_does_not_answer_is_refused_within_seconds(
    command: str, photo: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """The system accepts connections to the port, and nothing is said on them."""

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        output = [tmp_path / "a.mbtiles"] if command == "seed" else ["--port", 0]
        said = refusal(command, photo, *output, "--weights", tiny_weights, "--ray", address)
    assert "does not answer" in said


def refusal(*arguments: object) -> str:
    """The one line of a command that is refused with exit code 2 in time."""
    started = time.monotonic()
    process = subprocess.run(
        command_line(*arguments), capture_output=True, text=True, timeout=60, env=clean_environment()
    )
    assert time.monotonic() - started < 10 + 5  # and the start of Python on a busy machine
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    return process.stderr
