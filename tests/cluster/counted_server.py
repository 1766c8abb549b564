"""A server on a cluster whose networks take their time and note each window, for test_serving.py.

    python counted_server.py PHOTO WEIGHTS PORT NOTES FEWEST MOST

FEWEST and MOST say how many networks there are; where they differ, the queue is long and a pass takes longer.

Prints `ready`; on the line `differ` it deploys maps of which the replicas are told that others make other tiles.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sr_model import Restorer, Weights
from tileserver.cluster import apps, serving
from tileserver.errors import ClusterError
from tileserver.render.networks import open_restorer
from tileserver.service import identify
from tileserver.settings import Settings

PHOTO, WEIGHTS, PORT, NOTES, FEWEST, MOST = sys.argv[1:]
GROWS = FEWEST != MOST
PASS_S = 4.0 if GROWS else 1.0


class Noting:
    """A network that notes the process and the window of each pass."""

    def __init__(self, network: Restorer) -> None:
        self._network = network
        self.spec, self.digest = network.spec, network.digest
        self.runtime, self.batch, self.callers = network.runtime, network.batch, network.callers
        self.warm_up = network.warm_up

    def restore(self, rgb: Any, photos: Sequence[Any]) -> Any:
        for window in rgb:
            note = f"{os.getpid()} {hashlib.sha256(window.tobytes()).hexdigest()}\n"
            with Path(NOTES).open("a") as file:
                file.write(note)
        time.sleep(PASS_S)
        return self._network.restore(rgb, photos)


def open_noting(weights: Weights, runtime: Any, device: Any) -> Noting:
    return Noting(open_restorer(weights, runtime, device))


def main() -> None:
    settings = Settings(
        source=PHOTO,
        weights=Path(WEIGHTS),
        runtime="openvino",
        batch=1,
        queue_size=64 if GROWS else 1,
        threads=16,
        max_wait_s=60,
        telemetry="OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ,
        log_format="json",
    )
    maps = {"map": settings}
    with serving.served_on_ray(
        "local", maps, int(PORT), int(MOST), 2, open_noting, fewest_networks=int(FEWEST), access_log=True
    ) as deploy:
        print("ready", flush=True)  # noqa: T201
        for line in sys.stdin:
            if line.strip() == "differ":
                apps.identify = lambda one: replace(identify(one), weights="0" * 64)  # type: ignore[assignment]
                try:
                    deploy(maps)
                except ClusterError as error:
                    print(f"refused: {error}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
