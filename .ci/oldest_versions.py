"""Print a requirements file with every declared dependency at its floor, to test the oldest supported versions.

    python .ci/oldest_versions.py [--free NAME,NAME] > oldest.txt
    pip install --only-binary :all: -r oldest.txt && pip install --no-deps --editable .

The package itself is installed, too, without its dependencies: `__version__` is read from its metadata.
Tools that check the code, and type stubs, are not needed to run it and stay as declared. --free names packages whose
floor is not tested, such as torch where an index has no old builds.
"""

import argparse
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = {"check-jsonschema", "mypy", "ruff", "scipy-stubs", "setuptools"}


def pinned(requirements: list[str], free: set[str]) -> Iterator[str]:
    """Yield each requirement with its `>=` made `==`, except those of TOOLS, of stubs and of `free`."""
    for requirement in requirements:
        if requirement.startswith("orthosharp["):  # names another extra, which is listed itself
            continue
        name = re.split(r"[\[<>=;! ]", requirement, maxsplit=1)[0]
        fixed = name not in TOOLS | free and not name.startswith("types-")
        yield requirement.replace(">=", "==", 1) if fixed else requirement


def main() -> None:
    """Print the requirements of the server, of training and of the tests."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--free", default="", help="packages to leave as declared, separated by commas")
    free = set(parser.parse_args().free.split(","))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for line in pinned([*project["dependencies"], *extras["training"], *extras["dev"]], free):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
