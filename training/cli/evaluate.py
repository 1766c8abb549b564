"""`orthosharp-train evaluate`: parse, call, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sr_model.atomic import write_atomic
from sr_model.restorer import Restorer
from sr_model.spec import ModelSpec
from sr_model.weights import Weights, load_weights
from training.cli.exits import NamesItsTarget
from training.cli.params import FILE, FOLDER, NEW_FILE
from training.errors import RunError
from training.evaluate.options import EvaluateOptions
from training.measure.judge_networks import EFFICIENTNET, JUDGE_NETWORKS
from training.progress import ProgressBars

if TYPE_CHECKING:  # torch takes seconds to import
    from training.evaluate.judge import ChosenJudge
    from training.evaluate.score import Score

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
    help="Compare with this georeferenced picture of the same ground.",
)
@click.option("--rival", "renamed_baselines", multiple=True, type=FILE, hidden=True, callback=_renamed)
@click.option(
    "--aged/--no-aged",
    default=EvaluateOptions.aged,
    show_default=True,
    help="Also score new chips that were aged, whose truth is known.",
)
@click.option(
    "--judge",
    "judge_path",
    type=FILE,
    help="Judge the feature distance of aged chips by VGG16 in this safetensors file, not by EfficientNet-lite0.",
)
@click.option(
    "--loss-network",
    "loss_networks",
    multiple=True,
    type=click.Choice(JUDGE_NETWORKS),
    help="Name a network whose features the loss used, if the weights do not: it will not judge.",
)
@click.option("--json", "json_path", type=NEW_FILE, help="Write the scores to this file.")
@click.option(
    "--html", "html_path", type=NEW_FILE, help="Write a page with scores and pictures to this file."
)
@click.option("--sheet", type=NEW_FILE, help="Write a comparison sheet to this picture.")
@click.option(
    "--rows",
    type=click.IntRange(1, 50),
    default=4,
    show_default=True,
    help="Chips per site on the page and the sheet.",
)
@click.option("--credit", multiple=True, help="Attribution of a site's photographs; give one per site.")
@click.option(
    "--draws",
    type=click.IntRange(100, 100_000),
    default=EvaluateOptions.draws,
    show_default=True,
    help="Draws of the bootstrap, for the intervals.",
)
@click.option(
    "--seed",
    type=int,
    default=EvaluateOptions.seed,
    show_default=True,
    help="Seed of the ageing and of the draws.",
)
def evaluate(
    weights: Path,
    pairs: tuple[Path, ...],
    baselines: tuple[Path, ...],
    renamed_baselines: tuple[Path, ...],
    aged: bool,
    judge_path: Path | None,
    loss_networks: tuple[str, ...],
    draws: int,
    seed: int,
    **reports: Any,
) -> None:
    """Score WEIGHTS beside bicubic, unsharp mask and other baselines on the validation chips of PAIRS."""
    from training.evaluate.score import check_options, evaluate_site

    _check_reports(pairs, reports)
    if judge_path and not aged:
        raise click.BadParameter(
            "the feature distance needs a known truth: leave --no-aged out", param_hint="--judge"
        )
    options = EvaluateOptions(baselines + renamed_baselines, aged, draws, seed)
    loaded = load_weights(weights)
    check_options(pairs, options, loaded.spec)
    judge = _judge(weights, loaded.spec, loss_networks, judge_path, aged=aged)
    restorer = _restorer(loaded, pairs)
    with ProgressBars() as bars:
        scores = [
            score for folder in pairs for score in evaluate_site(restorer, folder, options, judge, bars)
        ]
    _report(restorer, pairs, scores, options, judge, **reports)


def _check_reports(pairs: Sequence[Path], reports: dict[str, Any]) -> None:
    credit, sheet = reports["credit"], reports["sheet"]
    if credit and len(credit) != len(pairs):
        raise click.BadParameter(f"{len(credit)} for {len(pairs)} sites: one each", param_hint="--credit")
    if sheet and sheet.suffix.lower() not in _SHEET_FORMATS:
        raise click.BadParameter(
            f"{sheet.name} is not the name of a picture: end it in .jpg", param_hint="--sheet"
        )


def _judge(
    weights: Path, spec: ModelSpec, loss_networks: Sequence[str], path: Path | None, *, aged: bool
) -> ChosenJudge:
    from training.evaluate.judge import ChosenJudge, choose_judge, loss_networks_of

    used = loss_networks_of(weights, spec, loss_networks)
    if not aged:
        return ChosenJudge(None, used)
    judge = choose_judge(used, path)
    if judge.features is None:
        click.echo(
            f"Warning: the loss used {EFFICIENTNET}: the feature distance is left out unless --judge names VGG16.",
            err=True,
        )
    return judge


def _restorer(weights: Weights, pairs: Sequence[Path]) -> Restorer:
    """Open the network. Weights fresh from `fit` declare no halo yet: it is measured as `export` does."""
    from training.data.dataset import load_pairs
    from training.measure.halo import measure_halo

    if not weights.spec.training:
        olds = [pair.old for pair in load_pairs(pairs, "validation")]
        try:
            halo_px = measure_halo(weights, olds)
        except RunError:  # a field that no halo covers shows in the seams
            return Restorer.from_weights(weights)
        weights = replace(weights, spec=replace(weights.spec, halo_px=halo_px))
    return Restorer.from_weights(weights)


def _report(
    restorer: Restorer,
    pairs: Sequence[Path],
    scores: Sequence[Score],
    options: EvaluateOptions,
    judge: ChosenJudge,
    *,
    json_path: Path | None,
    html_path: Path | None,
    sheet: Path | None,
    rows: int,
    credit: Sequence[str],
) -> None:
    """Print the tables, and write the files that were asked for."""
    from training.evaluate.score import document
    from training.evaluate.tables import summary

    click.echo(summary(scores))
    click.echo(judge.sentence)
    measured = document(restorer, scores, options, judge)
    owners = credit or ("",) * len(pairs)
    if json_path:
        write_atomic(json_path, (json.dumps(measured, indent=2, allow_nan=False) + "\n").encode())
    if html_path:
        from training.evaluate.report import evaluation_page

        page = evaluation_page(restorer, pairs, scores, options, rows, owners, judge)
        write_atomic(html_path, page.encode())
        click.echo(f"look at {html_path}")
    if sheet:
        from training.evaluate.sheet import comparison_sheet

        drawn = comparison_sheet(restorer, pairs, rows, owners)
        write_atomic(sheet, partial(drawn.save, format=_SHEET_FORMATS[sheet.suffix.lower()], quality=88))
