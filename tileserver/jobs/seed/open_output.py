"""Open the output that a user names."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import from_url

from tileserver.archives.suffixes import MBTILES, PMTILES
from tileserver.errors import ArchiveError
from tileserver.jobs.seed.archive_output import ArchiveOutput
from tileserver.jobs.seed.file_sink import BucketFiles, FolderFiles
from tileserver.jobs.seed.files_output import FilesOutput
from tileserver.jobs.seed.names import check_output_name
from tileserver.jobs.seed.output import Output
from tileserver.tiling.encode import Extension


def open_output(name: str, extension: Extension, *, changed_only: bool = False) -> Output:
    """Return the output for a name: an .mbtiles or .pmtiles file, a URL, or a folder. Writes nothing.

    Args:
        name: the output as given by the user.
        extension: format of the tiles.
        changed_only: do not rewrite files whose bytes are the same.

    Raises:
        ArchiveError: the URL or path is invalid, see `check_output_name`.
    """
    check_output_name(name)
    if "://" in name:
        try:
            store = from_url(name)
        except (BaseError, ValueError) as error:
            raise ArchiveError(
                f"{name} cannot be opened ({error}): check the URL and the environment"
            ) from error
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
        # The digest distinguishes URLs that have the same slug.
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
