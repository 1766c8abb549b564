"""`orthosharp-train pairs`: parse, call, report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import click

from training.cli.exits import NamesItsTarget
from training.cli.params import FILE
from training.cli.values import bands, nodata, rescale
from training.progress import ProgressBars

_READING: Final = ("bands", "rescale", "nodata", "crs")


@click.command(cls=NamesItsTarget)
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
@click.option(
    "--min-confidence",
    type=float,
    default=6.0,
    show_default=True,
    help="Of the local shift: height of the correlation's peak in standard deviations around it. Where there is "
    "nothing to find, one window in twenty has 5.3; 8 and more is reliable.",
)
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
@click.option(
    "--bands", type=bands, metavar="R,G,B", help="Bands of the old photo [the first three, or the first]."
)
@click.option(
    "--rescale",
    type=rescale,
    metavar="MIN,MAX|auto",
    help="Values of the old photo that are black and white [0,255 for bytes, else auto].",
)
@click.option(
    "--nodata",
    type=nodata,
    metavar="VALUE|none",
    help="Value of the old photo without a picture [the file's].",
)
@click.option("--crs", help="CRS of the old photo, such as EPSG:25832 [the file's].")
@click.option("--new-bands", type=bands, metavar="R,G,B", help="As --bands, of the new photo.")
@click.option("--new-rescale", type=rescale, metavar="MIN,MAX|auto", help="As --rescale, of the new photo.")
@click.option("--new-nodata", type=nodata, metavar="VALUE|none", help="As --nodata, of the new photo.")
@click.option("--new-crs", help="As --crs, of the new photo.")
@click.option("--jobs", type=click.IntRange(min=1), help="Threads [one per processor].")
def pairs(old: Path, new: Path, out: Path, **choices: Any) -> None:
    """Cut registered chips of OLD and NEW into the folder OUT; after a stop, the same command goes on."""
    from training.data.manifest import read_site
    from training.pairs.make import make_pairs
    from training.pairs.reading import Reading
    from training.pairs.report import REPORT

    readings = {
        side: Reading(**{name: choices.pop(prefix + name) for name in _READING})
        for side, prefix in (("old", ""), ("new", "new_"))
    }
    with ProgressBars() as bars:
        chips = make_pairs(old, new, out, progress=bars, say=bars.say, **readings, **choices)
    for split in ("train", "validation", "dropped"):
        reasons = Counter(chip.reason for chip in chips if chip.split == split and chip.reason)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        click.echo(
            f"{split}: {sum(chip.split == split for chip in chips)} chips" + (f" ({why})" if why else "")
        )
    for hint in read_site(out)["hints"]:
        click.echo(f"Warning: {hint}", err=True)
    click.echo(f"look at {out / REPORT}")
