"""`orthosharp-train pairs`: parse, call, report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from training.cli.params import FILE
from training.progress import ProgressBars


@click.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--gsd", "gsd_m", type=click.FloatRange(min=0, min_open=True), help="Metres per pixel [the new photo's]."
)
@click.option(
    "--size", "size_px", type=click.IntRange(64, 2048), default=500, show_default=True, help="Chip, in px."
)
@click.option("--step", "step_px", type=click.IntRange(min=16), help="From chip to chip, in px [--size].")
@click.option("--areas", type=FILE, help="GeoJSON of unchanged ground: only chips wholly inside.")
@click.option(
    "--max-shift",
    "max_shift_m",
    type=click.FloatRange(0.1, 50),
    default=15.0,
    show_default=True,
    help="In metres.",
)
@click.option("--min-confidence", type=float, default=6.0, show_default=True, help="Of the local shift.")
@click.option(
    "--drop-changed",
    type=click.FloatRange(0, 0.9),
    default=0.15,
    show_default=True,
    help="Share of the most changed chips that goes; 0 keeps all.",
)
@click.option(
    "--validation", type=float, nargs=4, metavar="W S E N", help="Block to keep, in the new photo's CRS."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Threads [one per processor].")
def pairs(old: Path, new: Path, out: Path, **choices: Any) -> None:
    """Cut registered chips of OLD and NEW into the folder OUT; after a stop, the same command goes on."""
    from training.pairs.make import make_pairs
    from training.pairs.report import REPORT

    with ProgressBars() as bars:
        chips = make_pairs(old, new, out, progress=bars, **choices)
    for split in ("train", "validation", "dropped"):
        reasons = Counter(chip.reason for chip in chips if chip.split == split and chip.reason)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        click.echo(
            f"{split}: {sum(chip.split == split for chip in chips)} chips" + (f" ({why})" if why else "")
        )
    click.echo(f"look at {out / REPORT}")
