"""`orthosharp-train pairs`: parse, call, report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from training.cli.params import FILE, OUT_FOLDER
from training.pairs.make import PairOptions
from training.progress import ProgressBars


@click.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.argument("out", type=OUT_FOLDER)
@click.option(
    "--gsd",
    "gsd_m",
    type=click.FloatRange(min=0, min_open=True),
    show_default="that of NEW",
    help="Pixel size of the chips, in metres.",
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(64, 2048),
    default=PairOptions.size_px,
    show_default=True,
    help="Side length of a chip, in pixels.",
)
@click.option(
    "--step",
    "step_px",
    type=click.IntRange(min=16),
    show_default="--size",
    help="Distance from one chip to the next, in pixels.",
)
@click.option("--areas", type=FILE, help="Make only chips that lie wholly in the areas of this GeoJSON file.")
@click.option(
    "--max-shift",
    "max_shift_m",
    type=click.FloatRange(0.1, 50),
    default=PairOptions.max_shift_m,
    show_default=True,
    help="Longest shift to look for, in metres.",
)
@click.option(
    "--min-confidence",
    type=float,
    default=PairOptions.min_confidence,
    show_default=True,
    help="Drop chips whose local shift is less certain than this.",
)
@click.option(
    "--drop-changed",
    type=click.FloatRange(0, 0.9),
    default=PairOptions.drop_changed,
    show_default=True,
    help="Drop this share of the chips, those that changed most; 0 keeps all.",
)
@click.option(
    "--validation",
    type=float,
    nargs=4,
    metavar="W S E N",
    show_default="the southern fifth",
    help="Keep this block for validation; bounds in the CRS of NEW.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), show_default="one per processor", help="Number of threads."
)
def pairs(old: Path, new: Path, out: Path, **options: Any) -> None:
    """Cut registered chips of OLD and NEW into the folder OUT; after a stop, the same command goes on."""
    from training.pairs.make import make_pairs
    from training.pairs.report import REPORT

    with ProgressBars() as bars:
        chips = make_pairs(old, new, out, progress=bars, **options)
    for split in ("train", "validation", "dropped"):
        reasons = Counter(chip.reason for chip in chips if chip.split == split and chip.reason)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        click.echo(
            f"{split}: {sum(chip.split == split for chip in chips)} chips" + (f" ({why})" if why else "")
        )
    click.echo(f"look at {out / REPORT}")
