"""A start that ended before it wrote a file: the disk was full, or the process was killed. The same command goes on."""

import errno
import json
import resource
import subprocess
import sys

import pytest

from sr_model.atomic import write_atomic
from training.errors import DatasetError, PairError, RunError
from training.locks import LOCK, only_process_in
from training.pairs.resumable import PLAN, claim
from training.site.journal import JOURNAL, Journal
from training.teach.make import RECORD, _begin


def begin_crops(folder):
    folder.mkdir(exist_ok=True)
    _begin(folder, {"teacher": "made"})


BEGINNINGS = {
    "pairs": (lambda folder: claim(folder / "work", {"grid": 1}), f"work/{PLAN}", PairError),
    "site": (lambda folder: Journal(folder, {"steps": 1}), JOURNAL, RunError),
    "crops": (begin_crops, RECORD, DatasetError),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_after_a_full_disk_the_same_start_goes_on(tmp_path, name):
    begin, first, _ = BEGINNINGS[name]
    out = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # Python ignores SIGXFSZ: writing fails
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at
            begin(out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(out / first))
    begin(out)
    assert json.loads((out / first).read_text())


@pytest.mark.parametrize("name", BEGINNINGS)
def test_after_a_kill_the_same_start_goes_on(tmp_path, name):
    begin, first, _ = BEGINNINGS[name]
    path = tmp_path / "out" / first
    path.parent.mkdir(parents=True)
    dies = "import os, sys; from pathlib import Path; from sr_model.atomic import write_atomic\n"
    dies += "write_atomic(Path(sys.argv[1]), lambda file: (file.write(b'{'), file.flush(), os._exit(9)))"
    assert subprocess.run([sys.executable, "-c", dies, str(path)], check=False).returncode == 9
    assert [item.suffix for item in path.parent.iterdir()] == [".tmp"]
    with only_process_in(tmp_path / "out"):
        assert (tmp_path / "out" / LOCK).is_file()
    begin(tmp_path / "out")
    assert json.loads(path.read_text())


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_folder_that_holds_something_else_is_refused(tmp_path, name):
    begin, _, refusal = BEGINNINGS[name]
    write_atomic(tmp_path / "holiday.jpg", b"a picture")
    with pytest.raises(refusal, match="folder"):
        begin(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["holiday.jpg"]
