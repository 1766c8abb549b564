"""`serve --workers N`: real processes that answer at one port, share tiles, are replaced and end together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from command_calls import call, refused
from conftest import clean_environment, middle_tile, running_server
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tileserver.metrics import Metrics, summed
from tileserver.service import TileService

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="needs SO_REUSEPORT"),
]


@contextmanager
def workers(
    photo: Path, weights: Path, store: Path, count: int = 2
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of several processes, all of which serve."""
    options = ("--weights", weights, "--runtime", "openvino", "--store", store, "--workers", count)
    with running_server(photo, *options) as server:
        wait_until(lambda: len(listening(server.process.pid)) == count)
        yield server.process, server.url


def wait_until(is_so: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def listening(process: int) -> list[int]:
    """The workers that accept connections."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if parts[3] == "0A":
            inodes.add(parts[9])
    found = []
    for child in children(process):
        links = [
            str(link.readlink()) for link in list(Path(f"/proc/{child}/fd").iterdir()) if link.is_symlink()
        ]
        if any(link.removeprefix("socket:[").removesuffix("]") in inodes for link in links):
            found.append(child)
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def figure(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_workers_share_port_tiles_and_figures(
    photo: Path, tiny_weights: Path, tmp_path: Path, make_service: Callable[..., TileService]
) -> None:
    tile = middle_tile(make_service())
    path = f"/tiles/{tile.z}/{tile.x}/{tile.y}.png"
    with workers(photo, tiny_weights, tmp_path / "tiles") as (_, url):
        first = httpx.get(url + path, timeout=60)
        assert first.status_code == 200
        # The store is written in the background.
        wait_until(lambda: list((tmp_path / "tiles").rglob(f"{tile.y}.png")))
        # Each connection may come to another worker.
        answers = [httpx.get(url + path, timeout=60) for _ in range(40)]
        assert {answer.headers["etag"] for answer in answers} == {first.headers["etag"]}

        def counted() -> tuple[float, float]:
            text = httpx.get(f"{url}/metrics").text
            names = (
                'orthosharp_requests_total{layer="restored",status="200"}',
                'orthosharp_cache_lookups_total{cache="store",result="hit"}',
            )
            return figure(text, names[0]), figure(text, names[1])

        # 41 answers, whichever worker tells them; the one that did not make the tile has read it once.
        wait_until(lambda: counted() == (41.0, 1.0), 20)


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_missed_by_nobody(
    photo: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    with workers(photo, tiny_weights, tmp_path / "tiles") as (process, url):
        before = listening(process.pid)
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: not is_alive(before[0]))
        for _ in range(20):
            assert httpx.get(f"{url}/healthz").status_code == 200
        wait_until(lambda: len(listening(process.pid)) == 2)
        after = listening(process.pid)
        assert before[1] in after
        assert before[0] not in after
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert listening(process.pid) == after


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, -15, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_all_end_together(
    photo: Path, tiny_weights: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with workers(photo, tiny_weights, tmp_path / "tiles") as (process, url):
        running = children(process.pid)
        assert len(running) == 2
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        wait_until(lambda: not any(map(is_alive, running)))
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
        assert process.stdout is not None
        assert "Traceback" not in process.stdout.read()


def test_what_is_wrong_is_said_once(photo: Path, tiny_weights: Path, tmp_path: Path) -> None:
    more = ("--workers", "3", "--port", "0")
    refused(call("serve", photo, *more), "--workers", "--store")
    command = [
        sys.executable,
        "-m",
        "tileserver.cli.entry",
        "serve",
        str(photo),
        *more,
        "--store",
        str(tmp_path),
    ]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--weights", "none.safetensors"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.count("none.safetensors does not exist") == 1
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        command[command.index("--port") + 1] = str(port)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr


def test_figures_are_added_up_family_by_family() -> None:
    texts = []
    for number in (1, 2):
        registry = CollectorRegistry()
        counter = Counter("made", "Things made", ["kind"], registry=registry)
        counter.labels("both").inc(number)
        counter.labels(f"only {number}").inc(10)
        Counter("other", "Other things", registry=registry).inc()
        texts.append(generate_latest(registry))
    added = summed(texts).decode()
    families = {family.name: family for family in text_string_to_metric_families(added)}
    values = {
        tuple(sample.labels.values()): sample.value
        for sample in families["made"].samples
        if sample.name == "made_total"
    }
    assert values == {("both",): 3.0, ("only 1",): 10.0, ("only 2",): 10.0}
    created = [figure(text.decode(), 'made_created{kind="both"}') for text in texts]
    assert figure(added, 'made_created{kind="both"}') == min(created) > 0
    # All samples of a family stand together, as the format asks.
    names = [line.split("{")[0].split()[0] for line in added.splitlines() if not line.startswith("#")]
    assert names == sorted(names, key=names.index)
    one = Metrics()
    one.count_response("/tiles/1", 200)
    alone = one.exposition()
    assert {line.split()[0] for line in summed([alone]).decode().splitlines()} == {
        line.split()[0] for line in alone.decode().splitlines()
    }
