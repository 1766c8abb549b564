"""Which kind of store an address means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import obstore.store
from obstore.exceptions import BaseError

from tileserver.archives.readers import MBTILES, PMTILES, TILEJSON, open_archive
from tileserver.cache.archive_store import ArchiveTiles
from tileserver.cache.folder_store import FolderTiles
from tileserver.cache.object_store import ObjectTiles
from tileserver.cache.store import TileStore
from tileserver.errors import SettingsError, StoreError

_BUCKETS: Final = ("s3", "gs", "az")


def open_store(address: str, *, max_bytes: int | None = None, timeout_s: float = 2.0) -> TileStore:
    """Open the store at an address.

    Args:
        address: a folder, an archive that `orthosharp seed` made, or `s3://`, `gs://`, `az://` with bucket and
            prefix. Credentials and endpoints come from the environment, under the names that each provider's own
            tools use.
        max_bytes: bound of a folder; buckets have lifecycle rules for that.
        timeout_s: longest wait for an answer of a bucket.

    Raises:
        SettingsError: there is no such kind, or the address makes no sense.
        ArchiveError: there is no such archive, or it is damaged.
    """
    if address.lower().endswith((MBTILES, PMTILES)):
        if "://" in address:
            raise SettingsError(f"--store {address}: an archive is served from a disk; download it first")
        if max_bytes is not None:
            raise SettingsError("--store-bytes is for folders: an archive is never written to")
        return ArchiveTiles(open_archive(Path(address)))
    scheme = urlsplit(address).scheme if "://" in address else ""
    if not scheme:
        if (Path(address) / TILEJSON).exists():
            raise SettingsError(
                f"--store {address} is a folder of tiles that orthosharp seed made, for any web server: name another "
                "folder, or seed an archive (.pmtiles, .mbtiles) to serve from it"
            )
        try:
            return FolderTiles(Path(address), max_bytes)
        except StoreError as error:
            raise SettingsError(str(error)) from error
    if scheme not in _BUCKETS:
        raise SettingsError(
            f"--store cannot be at {scheme}://: give a folder, or an address with {', '.join(_BUCKETS)}"
        )
    if max_bytes is not None:
        raise SettingsError(
            "--store-bytes is for folders: give the bucket a lifecycle rule that deletes old objects instead"
        )
    # A second try is the next visitor's.
    limits: dict[str, Any] = {
        "client_options": {
            "timeout": f"{timeout_s}s",
            "connect_timeout": f"{timeout_s}s",
            # obstore reads this variable only where it is given no options.
            "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
        },
        "retry_config": {"max_retries": 0},
    }
    try:
        bucket = obstore.store.from_url(address, **limits)
    except (BaseError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"--store {address}: {reason}. Set what it needs in the environment, such as AWS_REGION, "
            "GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_ACCOUNT_NAME"
        ) from error
    return ObjectTiles(bucket, f"the store in {scheme}://")
