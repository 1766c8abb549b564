"""Run the tests in two processes of pytest: `python tests/side_by_side.py -m "not slow"` passes all arguments on.

Half of the tests' time is spent waiting for processes and disks. Two plain processes take little more than half the
time of one, and end on their own where a worker of pytest-xdist that dies leaves the others waiting.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
NO_TESTS = 5
# The first process; the second runs all the rest, with the server's jobs. Each has about half of the time.
FIRST = [
    TESTS / "golden",
    *sorted(set((TESTS / "tileserver").glob("test_*.py")) - set((TESTS / "tileserver").glob("test_se*.py"))),
]


def main(arguments: list[str]) -> int:
    """Return the worse exit code; a half without a test to run counts only if both are."""
    others = sorted(
        path
        for path in TESTS.iterdir()
        if path.is_dir() or path.name.startswith("test_")
        if path not in FIRST and path.name not in ("__pycache__", "tileserver")
    )
    others += sorted((TESTS / "tileserver").glob("test_se*.py"))
    pytest = [sys.executable, "-m", "pytest", *arguments]
    with tempfile.TemporaryFile("w+") as aside:
        first = subprocess.Popen([*pytest, "-p", "no:cacheprovider", *map(str, FIRST)], stdout=aside)
        second = subprocess.call([*pytest, *map(str, others)])
        codes = {first.wait(), second}
        aside.seek(0)
        sys.stdout.write(aside.read())
    failed = codes - {0, NO_TESTS}
    return max(failed) if failed else min(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
