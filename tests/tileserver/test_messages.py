"""Messages and the log name the user's files, never those that GDAL is given in memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import block, overwrite
from odd_photos import TRANSFORM, town, turned, write
from rasterio.control import GroundControlPoint

from sr_model import bundled_weights_path, load_weights
from tileserver.cli.serve import report_all, report_times
from tileserver.errors import SourceError
from tileserver.photo.source import Source
from tileserver.render.appearance import choose_appearance
from tileserver.settings import Settings
from tileserver.shared import Shared
from tileserver.web.admission import Admission
from tileserver.web.maps import open_generation

SIDE = 600
TOWN = town(SIDE)
FOUR = np.concatenate([TOWN, TOWN[:1]])
POINTS = [
    GroundControlPoint(row, column, *(TRANSFORM * (column, row)))
    for row, column in ((0, 0), (0, SIDE), (SIDE, 0), (SIDE, SIDE))
]
WARPED = {"gcps": POINTS, "transform": None}
# GDAL's files in memory, and the names that rasterio gives them.
IN_MEMORY = re.compile(r"vsimem|[0-9a-f]{8}-[0-9a-f]{4}-|sheet\.vrt|orthosharp-[0-9a-f]{8}")


@pytest.mark.parametrize(
    ("make", "bands"),
    [
        (lambda path: write(path, TOWN, **WARPED), (9,)),
        (lambda path: write(path, TOWN.astype(np.complex64), **WARPED), None),
        (lambda path: write(path, TOWN.astype(np.uint16), photometric="CIELAB", **WARPED), None),
        (
            lambda path: write(
                path, np.concatenate([TOWN, TOWN[:1]]).astype(np.uint16), photometric="CMYK", **WARPED
            ),
            None,
        ),
    ],
)
def test_refusals_name_the_photograph(
    make: Callable[[Path], Path], bands: tuple[int, ...] | None, tmp_path: Path
) -> None:
    path = make(tmp_path / "old photo.tif")
    with pytest.raises(SourceError, match=r"old photo\.tif") as caught:
        Source.open(str(path), bands=bands)
    assert not IN_MEMORY.search(str(caught.value))


@pytest.mark.parametrize("kind", ["a border", "control points", "sheets", "a sheet off the grid"])
def test_the_log_names_the_photograph_that_is_damaged(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "town"
    folder.mkdir()
    values = np.where(turned(20, SIDE), TOWN, 0).astype(np.uint8) if kind == "a border" else TOWN
    path = write(
        folder / "old.tif", values, compress="deflate", **(WARPED if kind == "control points" else {})
    )
    named = "old"
    if "sheet" in kind:
        shift = SIDE + (0.4 if "off" in kind else 0)
        write(folder / "east.tif", TOWN, transform=TRANSFORM * TRANSFORM.translation(shift, 0))
        named = "town"
    offset, size = block(path, 1, 1)
    overwrite(path, offset, b"\xff" * size)
    source = Source.open(str(path if named == "old" else folder))
    caplog.set_level(logging.WARNING, "orthosharp")
    choose_appearance(
        load_weights(bundled_weights_path()).spec,
        source,
        Settings(source=str(path), resolution=0.6, halo="off"),
    )
    source.close()
    assert f"{named}: a part of the photograph cannot be read: old.tif, band" in caplog.text
    assert not IN_MEMORY.search(caplog.text)


@pytest.mark.parametrize("side", [224, 600])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_a_damaged_block_of_a_sheet_does_not_refuse_the_others(
    side: int, shift: float, tmp_path: Path
) -> None:
    """GDAL remembers the error of a block; what is asked of the file afterwards succeeds all the same."""
    path = write(tmp_path / "old.tif", town(side), compress="deflate")
    write(tmp_path / "east.tif", town(side), transform=TRANSFORM * TRANSFORM.translation(side + shift, 0))
    offset, size = block(path, 1, 1)
    overwrite(path, offset, b"\xff" * size)
    Source.open(str(tmp_path)).close()


def test_notes_name_the_map_where_there_are_several_and_nothing_twice(
    tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.where(turned(20), town(), 0).astype(np.uint8)
    maps = {
        name: Settings(
            source=str(write(tmp_path / f"{file}.tif", values)), weights=tiny_weights, runtime="openvino"
        )
        for name, file in (("y1951", "y1951"), ("y1968", "flown in june"))
    }
    shared, admission = Shared(maps["y1951"]), Admission(maps["y1951"])
    generation = open_generation(maps, shared, admission)
    try:
        report_all(generation)
        report_times(generation)
    finally:
        generation.close()
        admission.close()
        shared.close()
    notes = [line for line in capsys.readouterr().err.splitlines() if "border" in line or "A screen" in line]
    assert [note.split("a black border")[0] for note in notes[:2]] == [
        "note: y1951: ",
        "note: y1968: flown in june: ",
    ]
    assert len(notes) == 3
    assert re.fullmatch(r"A screen of .* takes about \S+ s, on the slowest map, y19(51|68)\.", notes[2])
