"""`orthosharp-train pairs | crops | fit | evaluate | ...`: all commands."""

from __future__ import annotations

import sys
from typing import Any

import click

from sr_model.errors import SrModelError
from training.cli.compare import compare, compare_score
from training.cli.crops import crops
from training.cli.evaluate import evaluate
from training.cli.export import export
from training.cli.fit import fit
from training.cli.import_model import import_model
from training.cli.pairs import pairs
from training.cli.refine import refine
from training.errors import TrainingError


class _Group(click.Group):
    """Turns our errors into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (TrainingError, SrModelError) as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)


@click.group(
    cls=_Group, commands=[pairs, crops, fit, evaluate, refine, export, import_model, compare, compare_score]
)
@click.version_option(package_name="orthosharp")
def main() -> None:
    """Two photographs of the same ground, years apart, to weights for `orthosharp serve`."""


if __name__ == "__main__":
    main()
