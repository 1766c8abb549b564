"""`orthosharp-train compare` and `compare-score`: parse, call, report."""

from __future__ import annotations

from pathlib import Path

import click

from training.cli.exits import NamesItsTarget
from training.cli.params import FILE, OUT_FOLDER
from training.progress import ProgressBars


@click.command(cls=NamesItsTarget)
@click.argument("out", type=OUT_FOLDER)
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.argument("pictures", type=FILE, nargs=-1, required=True)
@click.option(
    "--sheets", "count", type=click.IntRange(1, 100), default=12, show_default=True, help="Number of sheets."
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Seed of the places and of the order of the letters.",
)
def compare(out: Path, old: Path, new: Path, pictures: tuple[Path, ...], count: int, seed: int) -> None:
    """Draw blind sheets of PICTURES, which were made from OLD, into the folder OUT.

    Every sheet shows one place by each of PICTURES, by OLD (bicubic) and by NEW, in random order under letters. Give
    the folder to people who have not seen OUT.key.json, which lies beside it; its page saves their scores for
    `compare-score`.
    """
    from training.compare.sheets import PAGE, write_sheets
    from training.compare.windows import candidates, draw_windows

    named = candidates(old, new, pictures)
    with ProgressBars() as bars:
        windows = draw_windows(named, count, seed)
        key = write_sheets(out, windows, named, seed, bars)
    kinds = [window.kind for window in windows]
    told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))
    click.echo(f"{len(windows)} sheets: {told}")
    click.echo(f"look at {out / PAGE}; the key is {key}")


@click.command("compare-score")
@click.argument("answers", type=FILE, nargs=-1, required=True, metavar="SCORES...")
@click.argument("key", type=FILE)
def compare_score(answers: tuple[Path, ...], key: Path) -> None:
    """Print the scores of every candidate by kind of ground, from the SCORES that the page of the sheets saved.

    `first` counts the sheets on which a candidate scored highest, `last` those on which it scored lowest; ties count
    for each.
    """
    from training.compare.scores import read_key, score_candidates, table

    click.echo(table(score_candidates(read_key(key), answers)))
