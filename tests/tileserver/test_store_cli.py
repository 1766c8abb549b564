"""`orthosharp cache info` and `clean`."""

from __future__ import annotations

from command_calls import call, refused
from seeded_photo import SeededPhoto


def test_what_holds_no_store_is_refused(seeded: SeededPhoto) -> None:
    folder = seeded.folder
    refused(call("cache", "info", folder / "nothing"), "there is no", "--store")
    refused(call("cache", "info", folder / "a.pmtiles"), "is an archive")
    refused(call("cache", "clean", folder / "a.mbtiles", seeded.source), "is an archive")
    refused(call("cache", "info", folder / "folder"), "orthosharp seed made")
    refused(call("cache", "info", seeded.source), "no folder")
