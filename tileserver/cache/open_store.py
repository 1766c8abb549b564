"""Open the tile store at an address."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import obstore.store
from obstore.exceptions import BaseError

from tileserver.archives.readers import open_archive
from tileserver.archives.suffixes import MBTILES, PMTILES, TILEJSON
from tileserver.cache.archive_store import ArchiveTiles
from tileserver.cache.folder_store import FolderTiles
from tileserver.cache.object_store import ObjectTiles
from tileserver.cache.store import TileStore
from tileserver.errors import SettingsError, StoreError

_BUCKETS: Final = ("s3", "gs", "az")


def open_store(address: str, *, max_bytes: int | None = None, timeout_s: float = 2.0) -> TileStore:
    """Open the store at an address.

    Args:
        address: a folder, an archive made by `orthosharp seed`, or `s3://`, `gs://`, `az://` with bucket and prefix.
            Credentials and endpoints are read from the environment variables that each provider's tools use.
        max_bytes: limit of a folder; for buckets, the provider's lifecycle rules serve that purpose.
        timeout_s: longest wait for a response of a bucket, in seconds.

    Raises:
        SettingsError: the kind of store is unknown, or the address is invalid.
        ArchiveError: the archive is missing or damaged.
    """
    if address.lower().endswith((MBTILES, PMTILES)):
        if "://" in address:
            raise SettingsError(
                f"--store {address}: archives are served from a local disk only; download it first"
            )
        if max_bytes is not None:
            raise SettingsError("--store-bytes applies to folders only: archives are read-only")
        return ArchiveTiles(open_archive(Path(address)))
    scheme = urlsplit(address).scheme if "://" in address else ""
    if not scheme:
        if (Path(address) / TILEJSON).exists():
            raise SettingsError(
                f"--store {address} is a folder of tiles made by orthosharp seed, which any web server can serve: "
                "name another folder, or seed an archive (.pmtiles, .mbtiles) and use that as the store"
            )
        try:
            return FolderTiles(Path(address), max_bytes)
        except StoreError as error:
            raise SettingsError(str(error)) from error
    if scheme not in _BUCKETS:
        raise SettingsError(
            f"--store does not support {scheme}://: give a folder, or an address that begins with "
            f"{', '.join(f'{kind}://' for kind in _BUCKETS)}"
        )
    if max_bytes is not None:
        raise SettingsError(
            "--store-bytes applies to folders only: give the bucket a lifecycle rule that deletes old objects instead"
        )
    # No retries: the tile is rendered instead, and the next request tries the store again.
    limits: dict[str, Any] = {
        "client_options": {
            "timeout": f"{timeout_s}s",
            "connect_timeout": f"{timeout_s}s",
            # obstore reads this variable only if no client options are given.
            "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
        },
        "retry_config": {"max_retries": 0},
    }
    try:
        bucket = obstore.store.from_url(address, **limits)
    except (BaseError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"--store {address}: {reason}. Set the environment variables that it needs, such as AWS_REGION, "
            "GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_ACCOUNT_NAME"
        ) from error
    return ObjectTiles(bucket, f"the store in {scheme}://")
