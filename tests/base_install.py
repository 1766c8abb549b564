"""A Python that has what `pip install orthosharp` brings, and nothing else that is installed here."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def base_requirements() -> list[Requirement]:
    """Return what pyproject.toml requires of every installation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


def required(requirements: list[Requirement]) -> dict[str, Distribution]:
    """Return the distributions that some requirements bring, those of their requirements too, by normalised name."""
    found: dict[str, Distribution] = {}
    left = list(requirements)
    while left:
        one = left.pop()
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        try:
            known = distribution(one.name)
        except PackageNotFoundError:  # of another platform
            continue
        if name not in found or one.extras:
            found[name] = known
            left += list(_requirements_of(known, one.extras))
    return found


def _requirements_of(known: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in known.requires or ():
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield one


def make_environment(folder: Path) -> Path:
    """Make an environment whose packages are links to those of this one; return its Python.

    The project's own packages are not in it: PYTHONPATH, or its wheel, brings them.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for known in [*required(base_requirements()).values(), distribution("orthosharp")]:
        for top in {Path(str(file)).parts[0] for file in known.files or ()}:
            source, link = Path(str(known.locate_file(top))), site / top
            # Scripts are written as ../../../bin; the finder of an editable install would bring this repository.
            if top not in ("..", "__pycache__") and "__editable__" not in top and not link.exists():
                link.symlink_to(source)
    return folder / "bin" / "python"
