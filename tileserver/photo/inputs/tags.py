"""What the tags of a raster say about its owner."""

from __future__ import annotations

from typing import Final

from rasterio.io import DatasetReader

# Not TIFFTAG_IMAGEDESCRIPTION: programs write their names and settings there.
_CREDITS: Final = ("CREDIT", "TIFFTAG_COPYRIGHT", "COPYRIGHT")


def credit_of(dataset: DatasetReader) -> str:
    """Return the copyright holder, as the tags name them; may be empty."""
    tags = {key.upper(): str(value).strip() for key, value in dataset.tags().items()}
    return next((tags[name] for name in _CREDITS if tags.get(name)), "")
