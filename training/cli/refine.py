"""`orthosharp-train refine`: parse, call, report."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sr_model.atomic import write_together
from sr_model.weights import load_weights
from training.cli.exits import NamesItsTarget
from training.cli.params import FOLDER, OUT_FOLDER, seed_option
from training.errors import RunError
from training.progress import ProgressBars
from training.refine.options import RefineOptions

_DEFAULTS = RefineOptions._field_defaults


@click.command(cls=NamesItsTarget)
@click.argument("run", type=FOLDER)
@click.argument("pairs", type=FOLDER, nargs=-1, required=True)
@click.option("--out", type=OUT_FOLDER, required=True, help="Folder for the new run.")
@click.option(
    "--lines",
    type=click.Choice(["none", "rows", "columns"]),
    default="none",
    show_default=True,
    help="Remove lines with a period of two of the old photo's pixels.",
)
@click.option(
    "--fidelity",
    type=click.FloatRange(0, 1),
    default=_DEFAULTS["fidelity"],
    show_default=True,
    help="Draw brightness back to the old photo's by this share, except in fine detail.",
)
@click.option(
    "--detail",
    type=click.FloatRange(0, 1),
    default=_DEFAULTS["detail"],
    show_default=True,
    help="Give fine detail this share of the new photo's energy; 0 leaves it as it is.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 100_000),
    default=_DEFAULTS["steps"],
    show_default=True,
    help="Number of training steps.",
)
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULTS["lr"],
    show_default=True,
    help="Highest learning rate.",
)
@click.option(
    "--line-weight",
    type=click.FloatRange(min=0),
    default=_DEFAULTS["line_weight"],
    show_default=True,
    help="Weight of the lines in the loss.",
)
@seed_option(_DEFAULTS["seed"])
def refine(run: Path, pairs: tuple[Path, ...], out: Path, lines: str, **options: Any) -> None:
    """Train the network of RUN further by rules on PAIRS, and write it as another run.

    The network is its own teacher: it learns to keep the old photo's shapes, to draw as much fine detail as the new
    photo has, and to omit lines of the old photo's own pixels (where there are such lines, `evaluate` shows a pattern
    above 1.2 for bicubic). A step takes half a second on two cores.
    """
    import torch

    from sr_model.weights import pack_weights
    from training.fit.config import CONFIG
    from training.fit.divergence import LAST as WEIGHTS
    from training.refine.refine import refine as teach

    weights, config = load_weights(run / WEIGHTS), run / CONFIG
    if not config.is_file():
        raise RunError(f"{run.name} has no {CONFIG}: it is not a run")
    if out.exists():
        raise RunError(f"{out.name} exists: name another folder")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not os.access(above, os.W_OK) or not above.is_dir():
        raise RunError(f"{out.name} cannot be made in {above.name}: name another folder")
    wanted = RefineOptions(lines=None if lines == "none" else lines, **options)  # type: ignore[arg-type]
    with ProgressBars() as bars:
        state = teach(weights, pairs, wanted, bars.say, bars)
    # Weights that are not finite are refused here, before there is a folder.
    packed = pack_weights(weights.spec, state, dtype=torch.float32)
    out.mkdir(parents=True)
    write_together({out / CONFIG: _with_lesson(config, pairs, wanted), out / WEIGHTS: packed})
    click.echo(f"{out.name} holds the network; measure it with `evaluate`, then `export` it")


def _with_lesson(config: Path, pairs: Sequence[Path], taught: RefineOptions) -> bytes:
    """Add what the network was taught to a run's configuration, for `export` to declare."""
    document = json.loads(config.read_text())
    lesson = {"pairs": list(map(str, pairs)), **taught._asdict()}
    document["refined"] = [*document.get("refined", ()), lesson]
    return (json.dumps(document, indent=2) + "\n").encode()
