"""`orthosharp-train crops`: parse, call, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from training.cli.exits import NamesItsTarget
from training.cli.params import FILE, OUT_FOLDER, seed_option
from training.progress import ProgressBars


@click.command(cls=NamesItsTarget)
@click.argument("photos", type=FILE, nargs=-1)
@click.option(
    "--teacher", type=FILE, required=True, help="Weights of a super-resolution model, made by `import`."
)
@click.option("--out", type=OUT_FOLDER, required=True, help="Folder for the crops.")
@click.option("--sharp", type=FILE, multiple=True, help="Sharp picture to age; can be repeated.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    show_default="no limit",
    help="Begin no crop after this many minutes.",
)
@click.option(
    "--most",
    type=click.IntRange(1, 999_999),
    default=1000,
    show_default=True,
    help="Number of crops that the folder is to have.",
)
@click.option(
    "--own-texture",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of the photograph's own texture in what is learnt.",
)
@click.option(
    "--own-texture-in-woods",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Same share where texture has no direction, as in woods.",
)
@click.option(
    "--crispness",
    type=click.FloatRange(0, 4),
    default=0.0,
    show_default=True,
    help="Sharpen the answers by so much, within the range of the pixels around, but not in woods.",
)
@click.option(
    "--aged-share",
    type=click.FloatRange(0, 1),
    default=0.4,
    show_default=True,
    help="Share of aged crops, where --sharp is given.",
)
@seed_option(0)
def crops(
    photos: tuple[Path, ...],
    teacher: Path,
    out: Path,
    sharp: tuple[Path, ...],
    minutes: float | None,
    most: int,
    **choices: Any,
) -> None:
    """Cut squares of old PHOTOS and of aged sharp pictures, with a teacher's answer beside each, for `fit --crops`.

    After a stop, the same command goes on.
    """
    from training.teach.make import CropChoices, make_crops

    with ProgressBars() as bars:
        count = make_crops(
            photos,
            sharp,
            teacher,
            out,
            CropChoices(**choices),
            most=most,
            minutes=minutes,
            report=bars,
        )
    click.echo(f"{out.name} holds {count} crops: learn from them with `orthosharp-train fit --crops {out}`")
