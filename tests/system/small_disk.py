"""Runs `orthosharp` on a disk that is too small, again and again, with a little more room each time.

Run by test_interrupted.py in a mount name space of its own, where a tmpfs can be mounted without privileges.
Prints the exit codes, and copies what was made in the end.

Run: python small_disk.py DISK COPY ARGUMENT ... ; the command's output has to be somewhere in DISK
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

# The check before the start sees a large disk: others fill it meanwhile.
PROGRAM = """
import shutil, sys
from tileserver import retry
from tileserver.cli.main import main
shutil.disk_usage = lambda _: shutil._ntuple_diskusage(10**12, 0, 10**12)
retry.RETRY_OUTPUT_S = (0.01,)
main(sys.argv[1:])
"""
STEP_KB = 512
MOST_KB = 64 * 1024


def main(disk: Path, copy: Path, arguments: list[str]) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk], check=True)
    room_kb, codes = 256, []
    while not codes or (codes[-1] == 1 and room_kb < MOST_KB):
        subprocess.run(["mount", "-o", f"remount,size={room_kb}k", "none", disk], check=True)
        command = [sys.executable, "-c", PROGRAM, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        codes.append(result.returncode)
        if "Traceback" in result.stderr or (result.returncode and "make room" not in result.stderr):
            sys.exit(result.stderr)
        # Whatever has its final name is whole; the caller looks at the last one only.
        room_kb += STEP_KB if room_kb < 16 * STEP_KB else room_kb
    shutil.copytree(disk, copy, dirs_exist_ok=True)
    print(*codes)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
