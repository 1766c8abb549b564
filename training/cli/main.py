"""`orthosharp-train pairs | crops | fit | evaluate | ...`: all commands."""

from __future__ import annotations

import os

import click

from training.cli.compare import compare, compare_score
from training.cli.crops import crops
from training.cli.evaluate import evaluate
from training.cli.exits import EXIT_CODES, OneLineGroup
from training.cli.export import export
from training.cli.fit import fit
from training.cli.import_model import import_model
from training.cli.pairs import pairs
from training.cli.refine import refine
from training.cli.site import site
from training.processors import wait_passively


@click.group(
    cls=OneLineGroup,
    epilog=EXIT_CODES,
    commands=[site, pairs, crops, fit, evaluate, refine, export, import_model, compare, compare_score],
)
@click.version_option(package_name="orthosharp")
def main() -> None:
    """Train networks for `orthosharp serve` on two photographs of the same ground, years apart."""
    wait_passively(os.environ)


if __name__ == "__main__":
    main()
