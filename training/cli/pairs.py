"""`orthosharp-train pairs`: parse, call, report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from training.cli.exits import NamesItsTarget
from training.cli.params import FILE, OUT_FOLDER, validation_option
from training.cli.values import bands, nodata, rescale
from training.pairs.make import PairOptions
from training.progress import ProgressBars

if TYPE_CHECKING:
    from training.pairs.reading import Reading

Command = TypeVar("Command", bound=Callable[..., Any])

_READING: Final = ("bands", "rescale", "nodata", "crs")


_READING_OPTIONS: Final = (
    click.option(
        "--bands",
        type=bands,
        metavar="R,G,B",
        show_default="the first three, or the first",
        help="Take these bands of OLD.",
    ),
    click.option(
        "--rescale",
        type=rescale,
        metavar="MIN,MAX|auto",
        show_default="0,255 for bytes, else auto",
        help="Show these values of OLD as black and white; auto finds them.",
    ),
    click.option(
        "--nodata",
        type=nodata,
        metavar="VALUE|none",
        show_default="that of the file",
        help="Leave out pixels of OLD with this value.",
    ),
    click.option("--crs", show_default="that of the file", help="Take this CRS for OLD, such as EPSG:25832."),
    click.option("--new-bands", type=bands, metavar="R,G,B", help="Same as --bands, for NEW."),
    click.option("--new-rescale", type=rescale, metavar="MIN,MAX|auto", help="Same as --rescale, for NEW."),
    click.option("--new-nodata", type=nodata, metavar="VALUE|none", help="Same as --nodata, for NEW."),
    click.option("--new-crs", help="Same as --crs, for NEW."),
)


def reading_options(command: Command) -> Command:
    """The options that say how the files of both photographs are read, for a command; see `readings_of`."""
    for option in reversed(_READING_OPTIONS):
        command = option(command)
    return command


def readings_of(options: dict[str, Any]) -> dict[str, Reading]:
    """Take what these options say out of a command's, as `old` and `new`."""
    from training.pairs.reading import Reading

    return {
        side: Reading(**{name: options.pop(prefix + name) for name in _READING})
        for side, prefix in (("old", ""), ("new", "new_"))
    }


@click.command(cls=NamesItsTarget)
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
    help="Drop chips whose local shift is less certain than this: height of the correlation peak in standard "
    "deviations around it. Where there is nothing to find, one window in twenty has 5.3; 8 and more is reliable.",
)
@click.option(
    "--drop-changed",
    type=click.FloatRange(0, 0.9),
    default=PairOptions.drop_changed,
    show_default=True,
    help="Drop this share of the chips, those that changed most; 0 keeps all.",
)
@validation_option("validation")
@click.option(
    "--jobs", type=click.IntRange(min=1), show_default="one per processor", help="Number of threads."
)
@reading_options
def pairs(old: Path, new: Path, out: Path, **options: Any) -> None:
    """Cut registered chips of OLD and NEW into the folder OUT; after a stop, the same command goes on."""
    from training.data.manifest import read_site
    from training.pairs.make import make_pairs
    from training.pairs.report import REPORT

    readings = readings_of(options)
    with ProgressBars() as bars:
        chips = make_pairs(old, new, out, progress=bars, say=bars.say, **readings, **options)
    for split in ("train", "validation", "dropped"):
        reasons = Counter(chip.reason for chip in chips if chip.split == split and chip.reason)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        click.echo(
            f"{split}: {sum(chip.split == split for chip in chips)} chips" + (f" ({why})" if why else "")
        )
    for hint in read_site(out)["hints"]:
        click.echo(f"Warning: {hint}", err=True)
    click.echo(f"look at {out / REPORT}")
