"""Name spaces in which a test may mount a tiny disk without privileges."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def private_mounts() -> list[str]:
    """What to put in front of a command; the test is skipped where the system has no such thing."""
    prefix = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None:
        pytest.skip("needs util-linux")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user name spaces here")
    return prefix
