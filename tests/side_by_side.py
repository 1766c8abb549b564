"""Run the tests in three processes of pytest: `python tests/side_by_side.py -m "not slow"` passes all arguments on.

Much of the tests' time is spent waiting for browsers, servers and disks. Plain processes use it, and end on their own
where a worker of pytest-xdist that dies leaves the others waiting. Each computes on one thread, since threads that wait
for a processor which another process has take more time than they save.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
NO_TESTS = 5
SERVER = sorted((TESTS / "tileserver").glob("test_*.py"))


def parts() -> list[list[Path]]:
    """The tests' files in parts that take about the same time; the last has all that is in no other."""
    middle = [path for path in SERVER if "test_p" <= path.name < "test_se"]
    ends = [path for path in SERVER if "test_d" <= path.name < "test_p" or path.name >= "test_sh"]
    first, second = [TESTS / "sr_model", *ends], [TESTS / "golden", TESTS / "training", *middle]
    taken = {*first, *second, TESTS / "tileserver", TESTS / "__pycache__"}
    others = [path for path in TESTS.iterdir() if path.is_dir() or path.name.startswith("test_")]
    rest = sorted(path for path in [*others, *SERVER] if path not in taken)
    return [rest, first, second]


def main(arguments: list[str]) -> int:
    """Return the worst exit code; a part without a test to run counts only if all are."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    shown, *aside = parts()
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder, f"{number}.log") for number in range(len(aside))]
        others = []
        for log, paths in zip(logs, aside, strict=True):
            with log.open("w") as output:
                command = [*pytest, "-p", "no:cacheprovider", *map(str, paths)]
                others.append(subprocess.Popen(command, stdout=output, env=environment))
        codes = {subprocess.call([*pytest, *map(str, shown)], env=environment)}
        for log, process in zip(logs, others, strict=True):
            codes.add(process.wait())
            sys.stdout.write(log.read_text())
    failed = codes - {0, NO_TESTS}
    return max(failed) if failed else min(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
