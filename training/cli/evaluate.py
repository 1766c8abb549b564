"""`orthosharp-train evaluate`: parse, call, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import click

from sr_model.atomic import write_atomic
from sr_model.restorer import Restorer
from sr_model.weights import Weights, load_weights
from training.cli.exits import NamesItsTarget
from training.cli.params import FILE, FOLDER, NEW_FILE
from training.errors import RunError
from training.progress import ProgressBars


def _restorer(weights: Weights, pairs: Sequence[Path]) -> Restorer:
    """The network with its halo. Weights fresh from `fit` do not know theirs yet: it is measured as `export` does."""
    from training.data.dataset import load_pairs
    from training.export.export import measure_halo

    if not weights.spec.training:
        olds = [pair.old for pair in load_pairs(pairs, "validation")]
        try:
            halo_px = measure_halo(weights, olds)
        except RunError:  # a field that no halo covers shows in the seams
            return Restorer.from_weights(weights)
        weights = replace(weights, spec=replace(weights.spec, halo_px=halo_px))
    return Restorer.from_weights(weights)


_SHEET_FORMATS: Final = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}


def _renamed(_context: click.Context, _option: click.Parameter, files: tuple[Path, ...]) -> tuple[Path, ...]:
    if files:
        click.echo("Warning: --rival is called --baseline now; the old name will go.", err=True)
    return files


@click.command(cls=NamesItsTarget)
@click.argument("weights", type=FILE)
@click.argument("pairs", type=FOLDER, nargs=-1, required=True)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    type=FILE,
    help="Georeferenced picture of the same ground to compare with.",
)
@click.option("--rival", "rivals", multiple=True, type=FILE, hidden=True, callback=_renamed)
@click.option(
    "--aged/--no-aged", default=True, show_default=True, help="Also age the new chips: a truth that is known."
)
@click.option(
    "--judge",
    "judge_path",
    type=FILE,
    help="VGG16's features (safetensors) judge the feature distance on aged chips, not EfficientNet-lite0.",
)
@click.option(
    "--loss-network",
    "loss_networks",
    multiple=True,
    type=click.Choice(["efficientnet-lite0", "vgg16"]),
    help="Network whose features the loss used, where the weights do not say. It does not judge.",
)
@click.option("--json", "json_path", type=NEW_FILE, help="Write the scores here.")
@click.option("--html", "html_path", type=NEW_FILE, help="Write one page with pictures here.")
@click.option("--sheet", type=NEW_FILE, help="Write a comparison sheet here.")
@click.option(
    "--rows", type=click.IntRange(1, 50), default=4, show_default=True, help="Chips per site that are shown."
)
@click.option("--credit", multiple=True, help="Whose pictures, once per site.")
@click.option(
    "--draws",
    type=click.IntRange(100, 100_000),
    default=1000,
    show_default=True,
    help="Of the blocks of ground, for the intervals.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of ageing and of the draws.")
def evaluate(
    weights: Path,
    pairs: tuple[Path, ...],
    baselines: tuple[Path, ...],
    rivals: tuple[Path, ...],
    aged: bool,
    judge_path: Path | None,
    loss_networks: tuple[str, ...],
    json_path: Path | None,
    html_path: Path | None,
    sheet: Path | None,
    rows: int,
    credit: tuple[str, ...],
    draws: int,
    seed: int,
) -> None:
    """Score WEIGHTS beside bicubic, unsharp mask and other baselines on the validation chips of PAIRS."""
    from training.evaluate.judge import ChosenJudge, choose_judge, loss_networks_of
    from training.evaluate.score import Choices, check_choices, document, evaluate_site
    from training.evaluate.tables import summary

    if credit and len(credit) != len(pairs):
        raise click.BadParameter(f"{len(credit)} for {len(pairs)} sites: one each", param_hint="--credit")
    if sheet and sheet.suffix.lower() not in _SHEET_FORMATS:
        raise click.BadParameter(
            f"{sheet.name} is not the name of a picture: end it in .jpg", param_hint="--sheet"
        )
    if judge_path and not aged:
        raise click.BadParameter(
            "the feature distance needs a known truth: leave --no-aged out", param_hint="--judge"
        )
    choices, loaded = Choices(baselines + rivals, aged, draws, seed), load_weights(weights)
    check_choices(pairs, choices, loaded.spec)
    used = loss_networks_of(weights, loaded.spec, loss_networks)
    judge = choose_judge(used, judge_path) if aged else ChosenJudge(None, used)
    if aged and judge.features is None:
        click.echo(
            "Warning: the loss used efficientnet-lite0, and no feature distance is told without --judge.",
            err=True,
        )
    restorer = _restorer(loaded, pairs)
    owners = credit or ("",) * len(pairs)
    with ProgressBars() as bars:
        scores = [
            score for folder in pairs for score in evaluate_site(restorer, folder, choices, judge, bars)
        ]
    click.echo(summary(scores))
    click.echo(judge.sentence)
    measured = document(restorer, scores, choices, judge)
    if json_path:
        write_atomic(json_path, (json.dumps(measured, indent=2, allow_nan=False) + "\n").encode())
    if html_path:
        from training.evaluate.report import evaluation_page

        page = evaluation_page(restorer, pairs, scores, choices, rows, owners, judge)
        write_atomic(html_path, page.encode())
        click.echo(f"look at {html_path}")
    if sheet:
        from training.evaluate.sheet import comparison_sheet

        drawn = comparison_sheet(restorer, pairs, rows, owners)
        write_atomic(sheet, partial(drawn.save, format=_SHEET_FORMATS[sheet.suffix.lower()], quality=88))
