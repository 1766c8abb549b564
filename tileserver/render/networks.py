"""The networks of this process, shared by all maps that use the same weights on the same device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sr_model import Restorer, Weights, load_weights, weights_path
from tileserver.metrics import Metrics
from tileserver.render.network_queue import LocalNetwork, Network, NetworkQueue, WindowQueue
from tileserver.render.renderer import trim_px
from tileserver.settings import DeviceName, RuntimeName, Settings


@dataclass(eq=False)
class LeasedNetwork:
    """A network and its queue, with the number of maps that use it."""

    restorer: Network
    queue: WindowQueue
    users: int = 0


OpenNetwork = Callable[[Weights, Settings], LeasedNetwork]
OpenRestorer = Callable[[Weights, RuntimeName, DeviceName], LocalNetwork]


def open_restorer(weights: Weights, runtime: RuntimeName, device: DeviceName) -> LocalNetwork:
    """Put weights on a runtime and a device, with the trim that the renderer expects.

    Raises:
        sr_model.RuntimeUnavailableError: the device is missing.
    """
    return Restorer.from_weights(weights, runtime=runtime, device=device, trim_px=trim_px(weights.spec))


def open_here(weights: Weights, settings: Settings) -> LeasedNetwork:
    """Open a network in this process; raises as `open_restorer`."""
    restorer = open_restorer(weights, settings.runtime, settings.device)
    queue = NetworkQueue(
        restorer,
        max_waiting=settings.queue_size,
        deadline_s=settings.deadline_s,
        batch=settings.batch,
        callers=restorer.callers,
    )
    return LeasedNetwork(restorer, queue)


class Networks:
    """Opens one network per weights, runtime and device, and closes it after the last map that used it.

    Args:
        metrics: publishes the number of windows that wait.
        open_network: opens a network; on another machine, if it is not `open_here`.
    """

    def __init__(self, metrics: Metrics, open_network: OpenNetwork = open_here) -> None:
        self._open_network = open_network
        self._running: dict[tuple[str, ...], LeasedNetwork] = {}
        self._lock = threading.Lock()
        metrics.watch("queue_length", "Metatiles that wait for a network", self._waiting)

    def lease(self, settings: Settings, source_gsd_m: float) -> LeasedNetwork:
        """Return the network that the settings name, opening it if need be; give it back with `release`.

        Args:
            settings: name weights, runtime and device.
            source_gsd_m: ground sample distance of the photograph to restore, in metres per pixel.

        Raises:
            sr_model.SrModelError: the weights fail verification, do not support this pixel size, or the device is
                missing.
        """
        weights = load_weights(weights_path(settings.weights))
        weights.spec.check_source_gsd(source_gsd_m)  # fail before seconds are spent on opening the network
        key = (weights.digest, settings.runtime, settings.device)
        with self._lock:
            if key not in self._running:
                self._running[key] = self._open_network(weights, settings)
            network = self._running[key]
            network.users += 1
            return network

    def release(self, network: LeasedNetwork) -> None:
        """Give a leased network back; the last release closes it."""
        with self._lock:
            network.users -= 1
            if network.users:
                return
            self._running = {key: found for key, found in self._running.items() if found is not network}
        network.queue.close()

    def _waiting(self) -> float:
        # Without the lock, which is held for seconds while a network opens.
        return sum(len(network.queue) for network in list(self._running.values()))
