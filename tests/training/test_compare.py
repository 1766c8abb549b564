"""Blind sheets from end to end, on small rasters; candidates are recognised by what was planted in them."""

import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from compared_ground import PLAIN, SIDE, ground, write_ground
from PIL import Image
from training_data import write_photo

from training.cli.compare import compare, compare_score
from training.compare.ground import kind_of
from training.compare.scores import read_key, score_candidates, table
from training.compare.sheets import picture_corner
from training.compare.windows import candidates, draw_windows
from training.errors import ComparisonError, PairError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_ground(tmp_path_factory.mktemp("ground"))


def call(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def draw(files, out, *options):
    return call(compare, out, files["old"], files["new"], files["plain"], files["grey"], *options)


@pytest.fixture(scope="module")
def drawn(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("sheets") / "blind"
    return out, draw(files, out, "--sheets", 8)


def key_of(out):
    return json.loads(out.with_name(f"{out.name}.key.json").read_text())


def pictures(path, count):
    sheet = np.asarray(Image.open(path))
    corners = [picture_corner(index) for index in range(count)]
    return [sheet[top : top + 512, left : left + 512] for left, top in corners]


def test_ground_is_told_by_its_texture():
    picture = ground()
    assert kind_of(picture[:256, :256]) == kind_of(picture[200:456, 200:456]) == "built"
    assert kind_of(picture[:256, 768:]) == kind_of(picture[256:512, 512:768]) == "woods"
    assert kind_of(picture[768:, :256]) == kind_of(picture[600:856, 300:556]) == "fields"
    assert kind_of(np.full((256, 256, 3), 90, np.uint8)) == "fields"


def test_the_folder_holds_sheets_and_a_page_and_not_the_key(drawn):
    out, told = drawn
    names = sorted(path.name for path in out.iterdir())
    assert names == [*(f"{n:02d}.png" for n in range(8)), "index.html"]
    assert "8 sheets: 4 built, 2 fields, 2 woods" in told
    page = (out / "index.html").read_text()
    for name in ("plain", "grey", "bicubic", "old.tif", "built", "woods"):
        assert name not in page.split("</style>")[1], name
    shown = re.findall(r'src="([^"]+)"', page)
    assert shown == [f"{n:02d}.png" for n in range(8)]


def test_the_key_says_which_letter_is_which_picture(drawn, files):
    out, _ = drawn
    key = key_of(out)
    assert key["candidates"] == {
        "bicubic": "old.tif",
        "new": "new.tif",
        "plain": "plain.tif",
        "grey": "grey.tif",
    }
    new = ground()
    for name, sheet in key["sheets"].items():
        assert sorted(sheet["letters"]) == ["A", "B", "C", "D"]
        assert set(sheet["letters"].values()) == set(key["candidates"])
        column, row = sheet["column"], sheet["row"]
        truth = new[row : row + 256, column : column + 256]
        assert kind_of(truth) == sheet["kind"]
        for letter, picture in zip(sheet["letters"], pictures(out / f"{name}.png", 4), strict=True):
            candidate = sheet["letters"][letter]
            assert (picture == PLAIN).all() == (candidate == "plain")
            assert (np.ptp(picture, axis=2) == 0).all() == (candidate == "grey")
            small = np.asarray(Image.fromarray(picture).resize((256, 256), Image.Resampling.BOX)).astype(
                float
            )
            if candidate == "new":
                assert np.abs(small - truth).mean() < 2


def test_letters_are_in_random_order_and_readable(drawn):
    out, _ = drawn
    orders = {tuple(sheet["letters"].values()) for sheet in key_of(out)["sheets"].values()}
    assert len(orders) > 3
    sheet = np.asarray(Image.open(out / "00.png"))
    for index in range(4):
        left, top = picture_corner(index)
        label = sheet[top - 44 : top, left : left + 60]
        rows = np.flatnonzero((label < 100).all(2).any(1))
        assert rows[-1] - rows[0] >= 18


def test_a_seed_gives_the_same_sheets_and_another_one_others(drawn, files, tmp_path):
    out, _ = drawn
    draw(files, tmp_path / "again", "--sheets", 8)
    draw(files, tmp_path / "other", "--sheets", 8, "--seed", 2)
    assert key_of(tmp_path / "again") == key_of(out)
    assert (tmp_path / "again" / "03.png").read_bytes() == (out / "03.png").read_bytes()
    assert key_of(tmp_path / "other")["sheets"] != key_of(out)["sheets"]


def test_rare_ground_leaves_its_place_to_others(files):
    named = candidates(files["old"], files["new"], (files["plain"],))
    windows = draw_windows(named, 14, 1)
    kinds = [window.kind for window in windows]
    assert len(windows) == 14
    assert kinds.count("built") == 4
    assert len({(window.column, window.row) for window in windows}) == 14


def test_windows_lie_where_all_candidates_have_pixels(files, tmp_path):
    north = write_photo(tmp_path / "north.tif", ground()[:512], 1.0)
    collar = ground()
    collar[:, :512] = 0
    east = write_photo(tmp_path / "east.tif", collar, 1.0)
    named = candidates(files["old"], files["new"], (north, east))
    places = {(window.column, window.row) for window in draw_windows(named, 12, 1)}
    assert places == {(column, row) for column in (512, 768) for row in (0, 256)}


def test_what_cannot_be_compared_is_refused(files, tmp_path):
    far = write_photo(tmp_path / "far.tif", ground()[:300, :300], 1.0, origin=(900_000.0, 1_300_000.0))
    with pytest.raises(ComparisonError, match="no window"):
        draw_windows(candidates(files["old"], files["new"], (far,)), 2, 1)
    twice = tmp_path / "plain.tif"
    shutil.copy(files["plain"], twice)
    with pytest.raises(ComparisonError, match="rename"):
        candidates(files["old"], files["new"], (files["plain"], twice))
    text = tmp_path / "text.tif"
    text.write_text("no picture")
    with pytest.raises(PairError, match=r"text\.tif"):
        candidates(files["old"], files["new"], (text,))


def test_an_existing_folder_is_refused_and_kept(files, tmp_path):
    (tmp_path / "blind").mkdir()
    (tmp_path / "blind" / "holiday.jpg").write_bytes(b"a picture")
    result = CliRunner().invoke(
        compare, [str(v) for v in (tmp_path / "blind", files["old"], files["new"], files["plain"])]
    )
    assert isinstance(result.exception, ComparisonError)
    assert [item.name for item in (tmp_path / "blind").iterdir()] == ["holiday.jpg"]


def write_key(path):
    letters = [dict(zip("ABC", order, strict=True)) for order in (["x", "new", "y"], ["new", "y", "x"])]
    sheets = {
        "00": {"kind": "built", "letters": letters[0]},
        "01": {"kind": "woods", "letters": letters[1]},
        "02": {"kind": "built", "letters": letters[1]},
    }
    path.write_text(json.dumps({"sheets": sheets}))
    return path


def write_answers(path, **sheets):
    path.write_text(json.dumps({"judge": "J", "sheets": {name[1:]: given for name, given in sheets.items()}}))
    return path


def test_scores_are_means_by_candidate_and_kind(tmp_path):
    key = read_key(write_key(tmp_path / "key.json"))
    first = write_answers(
        tmp_path / "1.json", s00={"A": 40, "B": 90, "C": 20}, s01={"A": 80, "B": 30, "C": 10}
    )
    second = write_answers(
        tmp_path / "2.json", s00={"A": 50, "B": 70, "C": 50}, s02={"A": None, "B": None, "C": None}
    )
    scores = {score.name: score for score in score_candidates(key, [first, second])}
    assert list(scores) == ["new", "x", "y"]
    assert scores["x"].means == {"built": 45, "woods": 10, "all": pytest.approx(100 / 3)}
    assert scores["y"].means == {"built": 35, "woods": 30, "all": pytest.approx(100 / 3)}
    assert scores["new"].means["all"] == 80
    # On the second judge's sheet two came last together.
    assert {name: score.last for name, score in scores.items()} == {"new": 0, "x": 2, "y": 2}
    assert {name: score.first for name, score in scores.items()} == {"new": 3, "x": 0, "y": 0}
    assert {score.sheets for score in scores.values()} == {3}
    lines = table(list(scores.values())).splitlines()
    assert lines[0].split() == ["candidate", "built", "woods", "all", "last", "first", "sheets"]
    assert lines[2].split() == ["x", "45.0", "10.0", "33.3", "2", "0", "3"]


def test_the_command_prints_the_table(drawn, tmp_path):
    out, _ = drawn
    by_candidate = {"bicubic": 30, "new": 90, "plain": 0, "grey": 40}
    answers = {
        f"s{name}": {letter: by_candidate[candidate] for letter, candidate in sheet["letters"].items()}
        for name, sheet in key_of(out)["sheets"].items()
    }
    path = write_answers(tmp_path / "scores.json", **answers)
    rows = [line.split() for line in call(compare_score, path, f"{out}.key.json").splitlines()]
    assert rows[0] == ["candidate", "built", "woods", "fields", "all", "last", "first", "sheets"]
    assert rows[1] == ["new", "90.0", "90.0", "90.0", "90.0", "0", "8", "8"]
    assert rows[4] == ["plain", "0.0", "0.0", "0.0", "0.0", "8", "0", "8"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"s00": {"A": 1, "B": 2}}, "score all"),
        ({"s00": {"A": 1, "B": 2, "C": 3, "D": 4}}, "score all"),
        ({"s00": {"A": 1, "B": 2, "C": 101}}, "0 to 100"),
        ({"s00": {"A": 1, "B": 2, "C": "3"}}, "0 to 100"),
        ({"s00": {"A": True, "B": 2, "C": 3}}, "0 to 100"),
        ({"s09": {"A": 1, "B": 2, "C": 3}}, "its own key"),
        ({}, "no sheet was scored"),
    ],
)
def test_scores_that_do_not_fit_are_refused(tmp_path, given, problem):
    key = read_key(write_key(tmp_path / "key.json"))
    with pytest.raises(ComparisonError, match=problem):
        score_candidates(key, [write_answers(tmp_path / "scores.json", **given)])


def test_other_files_are_neither_keys_nor_scores(tmp_path):
    path = tmp_path / "other.json"
    for text, read in (("{", read_key), ("[]", read_key), ('{"sheets": {"00": 1}}', read_key)):
        path.write_text(text)
        with pytest.raises(ComparisonError):
            read(path)
    path.write_text('{"a": 1}')
    with pytest.raises(ComparisonError, match="no scores"):
        score_candidates({}, [path])


def test_the_ground_has_the_size_that_tests_rely_on():
    assert ground().shape == (SIDE, SIDE, 3)


def test_sheets_that_a_stop_left_unfinished_are_drawn_again(files, drawn, tmp_path):
    whole, out = drawn[0], tmp_path / "blind"
    out.mkdir()
    (out / "00.png").write_bytes(b"half a she")
    (out / "11.png").write_bytes(b"of more sheets")
    (out / ".01.png.0123abcd.tmp").write_bytes(b"")
    draw(files, out, "--sheets", 8)
    assert key_of(out) == key_of(whole)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in whole.iterdir()
    }
