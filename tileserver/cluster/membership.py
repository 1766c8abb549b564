"""Who may take part: every host of a cluster has to make the same tiles."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from tileserver.archives.identity import MapIdentity
from tileserver.errors import ClusterError
from tileserver.tiling.layer import WEB_MERCATOR


def check_identity(mine: MapIdentity, wanted: MapIdentity, map_name: str = "") -> None:
    """Check that the map that this host opened is the one that was deployed.

    Args:
        mine: what this host's tiles are made of.
        wanted: what the cluster's tiles are made of.
        map_name: of the map, where there are several.

    Raises:
        ClusterError: they differ; the message says in what.
    """
    if mine == wanted:
        return
    of_mine, of_wanted = (one.of_tiles(WEB_MERCATOR, "webp") for one in (mine, wanted))
    named = of_wanted.differences(of_mine) or ["the later photograph or its options"]
    refuse(named, map_name)


def check_settings(mine: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Check that this host would restore the same pixels; raises as `check_identity`.

    Args:
        mine, wanted: everything that affects pixels, by name.
    """
    named = [
        f"{name}: {mine.get(name)}, not {value}" for name, value in wanted.items() if mine.get(name) != value
    ]
    if named:
        refuse(named)


def refuse(differences: list[str], map_name: str = "") -> None:
    """Refuse to take part.

    Raises:
        ClusterError: always.
    """
    raise ClusterError(
        f"{f'{map_name}: ' if map_name else ''}the host {socket.gethostname()} would make other tiles than were asked "
        f"for ({'; '.join(differences)}): give every host the same version, files and weights"
    )
