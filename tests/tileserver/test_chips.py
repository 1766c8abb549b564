"""`orthosharp restore --chips`: images that lie where the picture does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from command_calls import refused, restore
from quick_cases import quick_cases


@pytest.mark.parametrize(
    ("extension", "world"), quick_cases([("png", ".pgw"), ("jpg", ".jgw")], ("jpg", ".jgw"))
)
def test_chips_lie_where_the_picture_does(
    holed: Path, restored: Path, tiny_weights: Path, tmp_path: Path, extension: str, world: str
) -> None:
    folder = tmp_path / "chips"
    assert restore(holed, folder, tiny_weights, "--chips", "300", "--format", extension).exit_code == 0
    chips = sorted(folder.glob(f"*.{extension}"))
    with rasterio.open(restored) as whole:
        rows, columns = -(-whole.height // 300), -(-whole.width // 300)
        assert rows * columns * 0.8 < len(chips) <= rows * columns
        for chip in chips:
            assert chip.with_suffix(".prj").read_text().startswith("PROJCS")
            assert chip.with_suffix(".wld").read_text() == chip.with_suffix(world).read_text()
            with rasterio.open(chip) as dataset:
                assert (dataset.width, dataset.height) == (300, 300)
                assert dataset.crs == whole.crs
                exact = whole.window(*dataset.bounds)
                column, row = round(exact.col_off), round(exact.row_off)
                assert (exact.col_off, exact.row_off) == pytest.approx((column, row), abs=1e-6)
                assert (column % 300, row % 300) == (0, 0)
                window = rasterio.windows.Window(column, row, 300, 300)
                pixels = whole.read(window=window, boundless=True).astype(int)
                shown = whole.dataset_mask(window=window, boundless=True) != 0
                gap = np.abs(dataset.read((1, 2, 3)).astype(int) - pixels)[:, shown]
            assert gap.max() == 0 if extension == "png" else gap.mean() < 6
    assert (
        "nothing to do"
        in restore(holed, folder, tiny_weights, "--chips", "300", "--format", extension).stderr
    )


@pytest.mark.parametrize("suffix", quick_cases([".pgw", ".wld"], ".wld"))
def test_world_files_alone_say_where_a_chip_lies(
    holed: Path, tiny_weights: Path, tmp_path: Path, suffix: str
) -> None:
    """For programs that know neither GDAL's .aux.xml nor .prj."""
    folder, bare = tmp_path / "chips", tmp_path / "bare.png"
    assert restore(holed, folder, tiny_weights, "--chips", "900").exit_code == 0
    chip = min(folder.glob("*.png"))
    shutil.copy(chip, bare)
    shutil.copy(chip.with_suffix(suffix), bare.with_suffix(suffix))
    with rasterio.open(chip) as whole, rasterio.open(bare) as dataset:
        assert dataset.crs is None
        assert dataset.transform.almost_equals(whole.transform, precision=1e-9)


@pytest.mark.slow
def test_chips_of_another_size_leave_none_of_the_old_ones(
    holed: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "chips"
    assert restore(holed, folder, tiny_weights, "--chips", "500", "--format", "jpg").exit_code == 0
    refused(restore(holed, folder, tiny_weights, "--chips", "900"), "--overwrite")
    result = restore(holed, folder, tiny_weights, "--chips", "900", "--overwrite", "--json")
    assert result.exit_code == 0, result.output
    chips = sorted(folder.glob("*.png"))
    assert {path.suffix for path in folder.iterdir()} == {".png", ".wld", ".pgw", ".prj", ".xml", ".json"}
    assert len(list(folder.iterdir())) == 5 * len(chips) + 1
    with rasterio.open(chips[0]) as dataset:
        assert (dataset.width, dataset.tags()["AI_RESTORED"][:3]) == (900, "yes")
        assert dataset.tags()["CREDIT"] == "Test Survey <1998>"
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events[-3:]] == ["progress", "writing", "done"]
    assert events[-3]["units"] == events[-3]["all_units"]
    files = [path for path in folder.iterdir() if path.name != "chips.json"]
    assert events[-1]["bytes"] == sum(path.stat().st_size for path in files)


def test_small_chips_do_not_read_their_metatile_again_and_again(
    holed: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, read = [], rasterio.open
    monkeypatch.setattr(
        rasterio, "open", lambda path, *rest, **more: opened.append(path) or read(path, *rest, **more)
    )
    assert restore(holed, tmp_path / "chips", tiny_weights, "--chips", "100").exit_code == 0
    assert len(list((tmp_path / "chips").glob("*.png"))) > 100
    metatiles = [path for path in opened if "chips.restoring" in str(path)]
    assert 0 < len(metatiles) == len(set(metatiles)) <= 4
