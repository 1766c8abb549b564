"""`orthosharp-train refine`: parse, call, report."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sr_model.atomic import write_together
from sr_model.weights import load_weights
from training.cli.exits import NamesItsTarget
from training.cli.params import FOLDER
from training.errors import RunError
from training.progress import ProgressBars

if TYPE_CHECKING:  # torch takes seconds to import
    from training.refine.refine import Choices as RefineChoices


@click.command(cls=NamesItsTarget)
@click.argument("run", type=FOLDER)
@click.argument("pairs", type=FOLDER, nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the new run."
)
@click.option(
    "--lines",
    type=click.Choice(["none", "rows", "columns"]),
    default="none",
    show_default=True,
    help="Lines with a period of two of the old photo's pixels, to be left out.",
)
@click.option(
    "--fidelity",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="How far brightness is drawn back to the old photo's, but for fine detail.",
)
@click.option(
    "--detail",
    type=click.FloatRange(0, 1),
    default=0.7,
    show_default=True,
    help="Share of the new photo's energy that fine detail shall have; 0 leaves it alone.",
)
@click.option("--steps", type=click.IntRange(1, 100_000), default=1500, show_default=True)
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=2e-4,
    show_default=True,
    help="Largest rate of learning.",
)
@click.option(
    "--line-weight",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="Weight of the lines in the loss.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of every draw.")
def refine(run: Path, pairs: tuple[Path, ...], out: Path, lines: str, **choices: Any) -> None:
    """Teach the network of RUN what its pictures lack by a rule, and write it as another run.

    The network is its own teacher: it learns to keep to the old photo's shapes, to draw as much fine detail as the
    new photo has, and to leave out lines of the old photo's own pixels (`evaluate` shows those as a pattern above 1.2
    in the bicubic picture already). Half a second per step on two cores.
    """
    import torch

    from sr_model.weights import pack_weights
    from training.fit.divergence import LAST as WEIGHTS
    from training.fit.run import CONFIG
    from training.refine.refine import Choices
    from training.refine.refine import refine as teach

    weights, config = load_weights(run / WEIGHTS), run / CONFIG
    if not config.is_file():
        raise RunError(f"{run.name} has no {CONFIG}: it is not a run")
    if out.exists():
        raise RunError(f"{out.name} exists: name another folder")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not os.access(above, os.W_OK) or not above.is_dir():
        raise RunError(f"{out.name} cannot be made in {above.name}: name another folder")
    wanted = Choices(lines=None if lines == "none" else lines, **choices)  # type: ignore[arg-type]
    with ProgressBars() as bars:
        state = teach(weights, pairs, wanted, bars.say, bars)
    # Weights that are not finite are refused here, before there is a folder.
    packed = pack_weights(weights.spec, state, dtype=torch.float32)
    out.mkdir(parents=True)
    write_together({out / CONFIG: _with_lesson(config, pairs, wanted), out / WEIGHTS: packed})
    click.echo(f"{out.name} holds the network; measure it with `evaluate`, then `export` it")


def _with_lesson(config: Path, pairs: Sequence[Path], taught: RefineChoices) -> bytes:
    """A run's configuration, and what its network was taught afterwards, for `export` to declare."""
    document = json.loads(config.read_text())
    lesson = {"pairs": list(map(str, pairs)), **taught._asdict()}
    document["refined"] = [*document.get("refined", ()), lesson]
    return (json.dumps(document, indent=2) + "\n").encode()
