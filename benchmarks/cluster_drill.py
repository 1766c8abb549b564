"""What visitors see while replicas of a cluster are killed and its weights change: `make cluster-demo`.

A Ray cluster on this machine serves the demo's photograph with two replicas. Visitors ask for tiles; a tile that is
refused or fails is asked for again, as the page does. Meanwhile a process is killed by its pid, then the network's, and
then new weights are deployed. Every answer is compared with the bytes that one process makes of the same tile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from sr_model import bundled_weights_path, load_weights, save_weights
from tileserver.service import TileRequest, TileService
from tileserver.settings import Settings
from tileserver.tiling.grid import TileAddress

DEMO = Path(__file__).parents[1] / "tileserver" / "demo" / "2010.tif"
VISITORS = 8
# A visitor who has asked for a tile this long has lost it.
PATIENCE_S = 120.0
START_S = 300.0


@dataclass
class Seen:
    """What visitors saw in one phase of the drill.

    Attributes:
        asked: tiles that they asked for.
        answers: of the server by status; `cut` where the connection ended without one.
        wrong: tiles with other bytes than one process makes.
        lost: tiles that did not arrive while they waited.
        waits: seconds from the first request to the tile.
    """

    asked: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    lost: int = 0
    waits: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def changed_weights(path: Path) -> Path:
    """Write weights that draw a little differently from the bundled ones."""
    weights = load_weights(bundled_weights_path())
    name, tensor = next((name, tensor) for name, tensor in weights.state.items() if tensor.ndim == 4)
    state = {**weights.state, name: tensor * 1.02}
    save_weights(path, replace(weights.spec, name="changed"), state)
    return path


def tiles_of(service: TileService, metatiles: int) -> list[TileAddress]:
    """Tiles of some metatiles in the middle of the photograph: at the native zoom and the next."""
    pyramid = service.rasters.view("restored", "WebMercatorQuad").pyramid
    zoom = pyramid.native_zoom
    window = pyramid.grid.covering(zoom, pyramid.extent)
    side = max(1, round(metatiles**0.5))
    # A metatile has 4 x 4 tiles.
    left, top = (
        (at + size // 2) // 1024 - side // 2
        for at, size in ((window.x, window.width), (window.y, window.height))
    )
    native = [
        TileAddress(zoom, x, y)
        for y in range(4 * top, 4 * (top + side))
        for x in range(4 * left, 4 * (left + side))
    ]
    finer = [TileAddress(zoom + 1, 2 * tile.x, 2 * tile.y) for tile in native]
    return [tile for tile in native + finer if pyramid.touches(tile.z, tile.window)]


def expected(weights: Path | None, metatiles: int) -> dict[TileAddress, bytes]:
    """The bytes of the tiles as one process makes them."""
    service = TileService(Settings(source=str(DEMO), weights=weights, deadline_s=600))
    try:
        return {
            tile: service.tile(TileRequest("restored", "WebMercatorQuad", tile, "webp")).body
            for tile in tiles_of(service, metatiles)
        }
    finally:
        service.close()


def processes_below(pid: int, title: str) -> list[int]:
    """Processes that a process has started, by the beginning of their title."""
    parents, titles = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_text()
            except (OSError, ValueError):
                continue

    def is_below(one: int) -> bool:
        while one in parents and one != pid:
            one = parents[one]
        return one == pid

    return [one for one in titles if titles[one].startswith(title) and is_below(one)]


@contextmanager
def cluster(config: Path) -> Iterator[tuple[int, str]]:
    """Start `orthosharp serve --ray local`; yields its pid and address."""
    log = config.with_suffix(".log")
    program = [
        sys.executable,
        "-m",
        "tileserver.cli.main",
        "serve",
        "--config",
        str(config),
        "--ray",
        "local",
    ]
    with log.open("w") as file:
        process = subprocess.Popen([*program, "--port", "0"], stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + START_S
        while "Ctrl+C" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the cluster did not start:\n{log.read_text()}")
            time.sleep(0.2)
        address = next(line.split()[-1] for line in log.read_text().splitlines() if "Open" in line)
        yield process.pid, address.rstrip("/")
    finally:
        process.terminate()
        process.wait(120)


def ask(client: httpx.Client, url: str, seen: Seen) -> bytes | None:
    """Ask for a tile until it comes; None if it does not."""
    started = time.monotonic()
    pause = 0.5
    while time.monotonic() - started < PATIENCE_S:
        try:
            answer = client.get(url)
            status = str(answer.status_code)
        except httpx.TransportError:
            answer, status = None, "cut"
        with seen.lock:
            seen.answers[status] += 1
        if answer is not None and status == "200":
            with seen.lock:
                seen.waits.append(time.monotonic() - started)
            return answer.content
        time.sleep(pause)
        pause = min(2 * pause, 4.0)
    return None


def phase(
    address: str, right: list[dict[TileAddress, bytes]], seconds: float, during: Callable[[], None]
) -> Seen:
    """Let visitors ask for tiles in random order; after a quarter of the time, something happens."""
    seen, ends = Seen(), time.monotonic() + seconds
    order = list(right[0])
    random.Random(1).shuffle(order)

    def visit() -> None:
        with httpx.Client(timeout=PATIENCE_S) as client:
            while time.monotonic() < ends:
                with seen.lock:
                    tile = order[seen.asked % len(order)]
                    seen.asked += 1
                body = ask(client, f"{address}/tiles/{tile.z}/{tile.x}/{tile.y}.webp", seen)
                with seen.lock:
                    seen.lost += body is None
                    seen.wrong += body is not None and all(body != one[tile] for one in right)
                # As fast as people look.
                time.sleep(0.1)

    visitors = [threading.Thread(target=visit) for _ in range(VISITORS)]
    for one in visitors:
        one.start()
    time.sleep(seconds / 4)
    during()
    for one in visitors:
        one.join()
    return seen


def kill(server: int, title: str) -> None:
    """Kill one of the cluster's processes, as a failing host would."""
    found = processes_below(server, title)
    if not found:
        raise SystemExit(f"there is no process {title}")
    os.kill(found[0], signal.SIGKILL)


def drill(seconds: float, metatiles: int) -> dict[str, Seen]:
    """Run all phases; returns what was seen in each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        changed = changed_weights(folder / "changed.safetensors")
        before, after = expected(None, metatiles), expected(changed, metatiles)
        config = folder / "orthosharp.toml"
        plain = f'max_wait_s = 60\n[maps.demo]\nsource = "{DEMO}"\n'
        config.write_text(plain)
        with cluster(config) as (server, address):

            def update() -> None:
                config.write_text(f'{plain}weights = "{changed}"\n')
                os.kill(server, signal.SIGHUP)

            phases: dict[str, tuple[list[dict[TileAddress, bytes]], float, Callable[[], None]]] = {
                "nothing happens": ([before], seconds, lambda: None),
                "a replica of the maps is killed": (
                    [before],
                    seconds,
                    lambda: kill(server, "ray::ServeReplica:orthosharp:maps"),
                ),
                "the network is killed": (
                    [before],
                    seconds,
                    lambda: kill(server, "ray::ServeReplica:orthosharp-networks"),
                ),
                # Long enough for two replicas to start, one after the other.
                "new weights are deployed": ([before, after], 4 * seconds, update),
            }
            found = {}
            for what, (right, lasts, during) in phases.items():
                found[what] = phase(address, right, lasts, during)
            found["after that"] = phase(address, [after], seconds / 2, lambda: None)
            return found


def table(found: dict[str, Seen]) -> str:
    """What was seen, in Markdown."""
    rows = ["| while | tiles | 200 | 503 | other answers | wrong | lost | longest wait |", "| --- " * 8 + "|"]
    for what, seen in found.items():
        other = sum(count for status, count in seen.answers.items() if status not in ("200", "503"))
        longest = max(seen.waits, default=0.0)
        rows.append(
            f"| {what} | {seen.asked} | {seen.answers['200']} | {seen.answers['503']} | {other} | "
            f"{seen.wrong} | {seen.lost} | {longest:.1f} s |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a phase")
    parser.add_argument("--metatiles", type=int, default=4, help="ground that visitors look at")
    parser.add_argument("--json", action="store_true", help="print numbers instead of a table")
    options = parser.parse_args()
    found = drill(options.seconds, options.metatiles)
    if options.json:
        print(
            json.dumps(
                {
                    what: {
                        "asked": seen.asked,
                        "answers": seen.answers,
                        "wrong": seen.wrong,
                        "lost": seen.lost,
                    }
                    for what, seen in found.items()
                }
            )
        )
    else:
        print(table(found))


if __name__ == "__main__":
    main()
