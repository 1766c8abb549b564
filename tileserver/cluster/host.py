"""The networks of one process of the cluster, opened when they are first asked for."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cachetools import LRUCache

from sr_model import load_weights, weights_path
from tileserver.errors import ClusterError
from tileserver.render.network_queue import LocalNetwork
from tileserver.render.networks import OpenRestorer, open_restorer
from tileserver.settings import DeviceName, RuntimeName, Settings

# Networks that stay open: those of several maps, and during an update the old and the new one.
_KEPT: Final = 4


@dataclass(frozen=True)
class WantedNetwork:
    """A network that a map asks for.

    Attributes:
        digest: of its weights.
        weights: their file; None for the bundled ones.
        runtime, device: what it runs on.
    """

    digest: str
    weights: Path | None
    runtime: RuntimeName
    device: DeviceName

    @classmethod
    def of(cls, settings: Settings, digest: str) -> WantedNetwork:
        """Return the network in the settings of a map, whose weights have this digest."""
        return cls(digest, settings.weights, settings.runtime, settings.device)


class NetworkHost:
    """Opens networks, and keeps a few of them. Thread-safe.

    Args:
        open_restorer: opens a network in this process.
    """

    def __init__(self, open_restorer: OpenRestorer = open_restorer) -> None:
        self._open = open_restorer
        self._networks: LRUCache[WantedNetwork, LocalNetwork] = LRUCache(_KEPT)
        self._lock = threading.Lock()

    def get(self, wanted: WantedNetwork) -> LocalNetwork:
        """Return a network, opening it if need be.

        Raises:
            ClusterError: the weights on this host are not those that are wanted.
            sr_model.SrModelError: the weights cannot be read, or the device is missing.
        """
        with self._lock:
            found = self._networks.get(wanted)
            if found is None:
                found = self._networks[wanted] = self._load(wanted)
            return found

    def _load(self, wanted: WantedNetwork) -> LocalNetwork:
        weights = load_weights(weights_path(wanted.weights))
        if weights.digest != wanted.digest:
            name = wanted.weights.name if wanted.weights else "the bundled weights"
            raise ClusterError(
                f"{name} on this host has the digest {weights.digest[:12]}, not {wanted.digest[:12]}: "
                "give every host the same file, and new weights a new name"
            )
        return self._open(weights, wanted.runtime, wanted.device)
