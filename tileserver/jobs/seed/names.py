"""Names of outputs, judged before anything is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tileserver.errors import ArchiveError

_STORES: Final = ("s3", "gs", "az")
# Names that end so are those of files: a folder of such a name would surprise.
_FILES: Final = (
    *(".7z", ".bz2", ".gz", ".kmz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"),
    *(".db", ".geojson", ".gpkg", ".json", ".mbtile", ".pmtile", ".sqlite", ".xyz"),
    *(".cog", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".vrt", ".webp"),
)


def check_output_name(name: str) -> None:
    """Refuse the name of an output that `seed` does not make.

    Args:
        name: the output as given by the user.

    Raises:
        ArchiveError: it is a URL of an unknown kind, or named like a file of another format.
    """
    if "://" in name:
        if name.split("://")[0] not in _STORES:
            raise ArchiveError(f"{name} is not the URL of a store: use s3://, gs:// or az://")
        return
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix in _FILES and not path.exists():
        raise ArchiveError(
            f"{path} would be a folder of tiles, and its name ends in {suffix} as a file's does: "
            "name a folder, or a file that ends in .mbtiles or .pmtiles"
        )
