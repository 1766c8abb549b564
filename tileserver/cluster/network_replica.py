"""The deployment that has the networks: windows of all maps' replicas in, restored windows out, in batches."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ray import serve

from sr_model import PhotoContext
from tileserver.cache.memory_cache import MemoryCache
from tileserver.cluster.host import NetworkHost, WantedNetwork
from tileserver.render.networks import OpenRestorer
from tileserver.tiling.raster import UInt8Array

# Restored windows that are kept for replicas of the maps that ask a little later for the same: about twenty.
_RECENT_BYTES: Final = 64 * 2**20

Restored = tuple[UInt8Array, float]


@dataclass(frozen=True, eq=False)
class _Window:
    wanted: WantedNetwork
    rgb: UInt8Array
    photo: PhotoContext


@dataclass(eq=False)
class _Flight:
    """A window on its way through the network, and how many calls wait for it."""

    task: asyncio.Task[Restored]
    waiting: int = 0


class NetworkReplica:
    """Restores windows. Calls with the same key share one pass of the network.

    Calls reach the replica that owns their key (see `networks_deployment`), so that no two replicas restore the same.

    Args:
        open_restorer: opens a network in this process.
        batch: largest batch; the network's own choice if None.
        wait_s: how long a batch waits for more windows, in seconds; not at all where batches are single windows.
    """

    def __init__(self, open_restorer: OpenRestorer, batch: int | None, wait_s: float) -> None:
        self._host = NetworkHost(open_restorer)
        self._batch, self._wait_s = batch, wait_s
        self._flights: dict[tuple[WantedNetwork, str], _Flight] = {}
        self._recent: MemoryCache[tuple[WantedNetwork, str], UInt8Array] = MemoryCache(
            _RECENT_BYTES, lambda pixels: pixels.nbytes
        )

    async def describe(self, wanted: WantedNetwork) -> str:
        """Open a network and return its runtime, device and precision; raises as `NetworkHost.get`."""
        network = await asyncio.to_thread(self._host.get, wanted)
        batch = self._batch or network.batch
        self._restore_batch.set_max_batch_size(batch)
        self._restore_batch.set_batch_wait_timeout_s(self._wait_s if batch > 1 else 0.0)
        return network.runtime

    async def warm_up(self, wanted: WantedNetwork, side_px: int) -> float:
        """See `Network.warm_up`."""
        network = await asyncio.to_thread(self._host.get, wanted)
        return await asyncio.to_thread(network.warm_up, side_px)

    async def restore(
        self, wanted: WantedNetwork, key: str, rgb: UInt8Array, photo: PhotoContext
    ) -> Restored:
        """Restore one window, or wait for the call that does.

        Args:
            wanted: the network.
            key: digest of the window; see `window_key`.
            rgb: uint8 [height, width, 3].
            photo: properties of the photograph for the model.

        Returns:
            uint8 [height, width, 3], less the network's trim on each side, and the seconds in the network.

        Raises:
            ClusterError: the weights on this host are not those that are wanted.
            InferenceError: the network failed.
        """
        place = (wanted, key)
        recent = self._recent.get(place)
        if recent is not None:
            return recent, 0.0
        flight = self._flights.get(place)
        if flight is None:
            task = asyncio.create_task(self._restore_and_keep(place, _Window(wanted, rgb, photo)))
            flight = self._flights[place] = _Flight(task)
        flight.waiting += 1
        try:
            # A call that is cancelled must not take the window from the others.
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()

    async def _restore_and_keep(self, place: tuple[WantedNetwork, str], window: _Window) -> Restored:
        try:
            restored: Restored = await self._restore_batch(window)
            self._recent.put(place, restored[0])
            return restored
        finally:
            del self._flights[place]

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def _restore_batch(self, windows: list[_Window]) -> list[Restored | Exception]:
        """Restore windows together; those of other networks or sizes after each other."""
        groups: dict[Any, list[int]] = defaultdict(list)
        for number, window in enumerate(windows):
            groups[window.wanted, window.rgb.shape].append(number)
        results: dict[int, Restored | Exception] = {}
        for numbers in groups.values():
            group = [windows[number] for number in numbers]
            try:
                restored: Sequence[Restored | Exception] = await asyncio.to_thread(self._run, group)
            except Exception as error:  # noqa: BLE001 - it is raised again in each of the calls
                restored = [error] * len(group)
            results.update(zip(numbers, restored, strict=True))
        return [results[number] for number in range(len(windows))]

    def _run(self, group: list[_Window]) -> list[Restored]:
        network = self._host.get(group[0].wanted)
        started = time.perf_counter()
        pixels = network.restore(np.stack([one.rgb for one in group]), [one.photo for one in group])
        seconds = time.perf_counter() - started
        return [(one, seconds) for one in pixels]
