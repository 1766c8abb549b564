"""From what a person calls an output to where its tiles go."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from obstore.exceptions import BaseError
from obstore.store import from_url

from tileserver.archives.readers import MBTILES, PMTILES
from tileserver.errors import ArchiveError
from tileserver.jobs.seed.archive_output import ArchiveOutput
from tileserver.jobs.seed.file_sink import BucketFiles, FolderFiles
from tileserver.jobs.seed.files_output import FilesOutput
from tileserver.jobs.seed.output import Output
from tileserver.tiling.encode import Extension

_STORES: Final = ("s3", "gs", "az")


def open_output(name: str, extension: Extension, *, changed_only: bool = False) -> Output:
    """The output that a name means: .mbtiles, .pmtiles, an address, or a folder. Touches nothing.

    Args:
        name: what the person called it.
        extension: format of the tiles.
        changed_only: whether files that have the right bytes already are left alone.

    Raises:
        ArchiveError: no store understands the address.
    """
    if "://" in name:
        if name.split("://")[0] not in _STORES:
            raise ArchiveError(f"{name} is no address of a store: use s3://, gs:// or az://")
        try:
            store = from_url(name)
        except (BaseError, ValueError) as error:
            raise ArchiveError(f"{name} cannot be used ({error}): check address and environment") from error
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
        # Two addresses may look alike without their slashes.
        journal = Path(f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.seeding")
        return FilesOutput(name, BucketFiles(store), journal, extension, changed_only=changed_only)
    path = Path(name)
    if path.suffix.lower() in (MBTILES, PMTILES):
        return ArchiveOutput(path)
    if path.exists() and not path.is_dir():
        raise ArchiveError(f"{path} is a file: name a folder, or a file that ends in .mbtiles or .pmtiles")
    return FilesOutput(
        name, FolderFiles(path), path / ".seeding", extension, disk=path, changed_only=changed_only
    )
