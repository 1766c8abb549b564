"""`orthosharp-train evaluate | refine | export`: what is done with weights."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from sr_model.restorer import Restorer
from sr_model.weights import Weights, load_weights, write_atomic
from training.cli.progress_bar import Stages
from training.errors import RunError

if TYPE_CHECKING:  # torch takes seconds to import
    from training.refine.refine import Choices as RefineChoices

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _NewFile(click.Path):
    """A file to write when all is done: its folder is looked at before."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = cast(Path, super().convert(value, param, ctx))
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            self.fail(
                f"{path.name} cannot be written: make its folder {str(path.parent)!r} first", param, ctx
            )
        return path


_OUT = _NewFile(dir_okay=False, path_type=Path)


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


@click.command()
@click.argument("weights", type=_FILE)
@click.argument("pairs", type=_FOLDER, nargs=-1, required=True)
@click.option(
    "--rival",
    "rivals",
    multiple=True,
    type=_FILE,
    help="Georeferenced picture of the same ground to compare with.",
)
@click.option(
    "--aged/--no-aged", default=True, show_default=True, help="Also age the new chips: a truth that is known."
)
@click.option("--json", "json_path", type=_OUT, help="Write the scores here.")
@click.option("--html", "html_path", type=_OUT, help="Write one page with pictures here.")
@click.option("--sheet", type=_OUT, help="Write a comparison sheet here.")
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
    rivals: tuple[Path, ...],
    aged: bool,
    json_path: Path | None,
    html_path: Path | None,
    sheet: Path | None,
    rows: int,
    credit: tuple[str, ...],
    draws: int,
    seed: int,
) -> None:
    """Score WEIGHTS beside bicubic, unsharp mask and rivals on the validation chips of PAIRS."""
    from training.evaluate.score import Choices, check_choices, document, evaluate_site
    from training.evaluate.tables import summary
    from training.measure.metrics import TextureFeatures

    if credit and len(credit) != len(pairs):
        raise click.BadParameter(f"{len(credit)} for {len(pairs)} sites: one each", param_hint="--credit")
    if sheet and sheet.suffix.lower() not in {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}:
        raise click.BadParameter(
            f"{sheet.name} is no name of a picture: end it in .jpg", param_hint="--sheet"
        )
    choices, loaded = Choices(rivals, aged, draws, seed), load_weights(weights)
    check_choices(pairs, choices, loaded.spec)
    restorer, features = _restorer(loaded, pairs), TextureFeatures()
    owners = credit or ("",) * len(pairs)
    with Stages() as stages:
        scores = [
            score for folder in pairs for score in evaluate_site(restorer, folder, features, choices, stages)
        ]
    click.echo(summary(scores))
    measured = document(restorer, scores, choices)
    if json_path:
        write_atomic(json_path, (json.dumps(measured, indent=2, allow_nan=False) + "\n").encode())
    if html_path:
        from training.evaluate.report import evaluation_page

        page = evaluation_page(restorer, pairs, scores, choices, rows, owners)
        write_atomic(html_path, page.encode())
        click.echo(f"look at {html_path}")
    if sheet:
        from training.evaluate.sheet import comparison_sheet

        comparison_sheet(restorer, pairs, rows, owners).save(sheet, quality=88)


@click.command()
@click.argument("run", type=_FOLDER)
@click.argument("pairs", type=_FOLDER, nargs=-1, required=True)
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
    help="Of the lines in what is learnt.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of every draw.")
def refine(run: Path, pairs: tuple[Path, ...], out: Path, lines: str, **choices: Any) -> None:
    """Teach the network of RUN what its pictures lack by a rule, and write it as another run.

    The network is its own teacher: it learns to keep to the old photo's shapes, to draw as much fine detail as the
    new photo has, and to leave out lines of the old photo's own pixels (`evaluate` shows those as a pattern above 1.2
    in the bicubic picture already). Half a second per step on two cores.
    """
    import torch

    from sr_model.weights import save_weights
    from training.fit.run import CONFIG, WEIGHTS
    from training.refine.refine import Choices
    from training.refine.refine import refine as teach

    weights, config = load_weights(run / WEIGHTS), run / CONFIG
    if not config.is_file():
        raise RunError(f"{run.name} has no {CONFIG}: it is no run")
    if out.exists():
        raise RunError(f"{out.name} exists: name another folder")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not os.access(above, os.W_OK) or not above.is_dir():
        raise RunError(f"{out.name} cannot be made in {above.name}: name another folder")
    wanted = Choices(lines=None if lines == "none" else lines, **choices)  # type: ignore[arg-type]
    state = teach(weights, pairs, wanted, click.echo)
    out.mkdir(parents=True)
    write_atomic(out / CONFIG, _with_lesson(config, pairs, wanted))
    save_weights(out / WEIGHTS, weights.spec, state, dtype=torch.float32)
    click.echo(f"{out.name} holds the network; measure it with `evaluate`, then `export` it")


def _with_lesson(config: Path, pairs: Sequence[Path], taught: RefineChoices) -> bytes:
    """A run's configuration, and what its network was taught afterwards, for `export` to declare."""
    document = json.loads(config.read_text())
    lesson = {"pairs": list(map(str, pairs)), **taught._asdict()}
    document["refined"] = [*document.get("refined", ()), lesson]
    return (json.dumps(document, indent=2) + "\n").encode()


@click.command()
@click.argument("run", type=_FOLDER)
@click.argument("out", type=_OUT)
@click.option("--name", default="compact", show_default=True, help="What headers call the model.")
@click.option("--provenance", required=True, help="A sentence that says what it was trained on.")
@click.option("--credit", required=True, help="Whose pictures taught it.")
@click.option(
    "--licence", default="Apache-2.0", show_default=True, help="Of the weights, an SPDX identifier."
)
@click.option(
    "--take",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="Which of the run's weights.",
)
@click.option("--scores", type=_FILE, help="What `evaluate --json` wrote about these weights.")
@click.option("--onnx", is_flag=True, help="Write an ONNX model too, checked against torch.")
def export(run: Path, out: Path, **choices: Any) -> None:
    """Write the weights of RUN to OUT.safetensors, the halo measured and the spec complete.

    Beside it: a model card (.md), a STAC item (.stac.json) and, with --onnx, an ONNX model.
    """
    from training.export.export import export as write

    exported = write(run, out, **choices)
    weights, spec = exported.weights, exported.weights.spec
    click.echo(
        f"{out.name} {weights.digest[:12]}: {spec.architecture}, {spec.gsd_m:.3g} m, halo {spec.halo_px} px"
    )
    if exported.onnx_difference is not None:
        click.echo(f"ONNX and torch differ by {255 * exported.onnx_difference:.4f} grey levels at most")
    click.echo("beside it: " + ", ".join(path.name for path in exported.files[1:]))
