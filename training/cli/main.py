"""`orthosharp-train pairs | crops | fit | evaluate | ...`: all commands."""

from __future__ import annotations

from typing import Any

import click

from sr_model.refusing import refusing
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
    """Turns errors into one line: our own end with exit code 2, those of the system with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with refusing("Error", TrainingError):
                return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of the output has left; click exits silently.
            raise
        except OSError as error:
            raise click.ClickException(f"{error}: check the path and the disk, then run it again") from error


@click.group(
    cls=_Group, commands=[pairs, crops, fit, evaluate, refine, export, import_model, compare, compare_score]
)
@click.version_option(package_name="orthosharp")
def main() -> None:
    """Train networks for `orthosharp serve` on two photographs of the same ground, years apart."""


if __name__ == "__main__":
    main()
