"""`orthosharp-train export`: parse, call, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from training.cli.exits import NamesItsTarget
from training.cli.params import FILE, FOLDER, NEW_FILE


@click.command(cls=NamesItsTarget)
@click.argument("run", type=FOLDER)
@click.argument("out", type=NEW_FILE)
@click.option("--name", default="", help="What headers call the model [its architecture].")
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
@click.option("--scores", type=FILE, help="What `evaluate --json` wrote about these weights.")
@click.option("--onnx", is_flag=True, help="Write an ONNX model too, checked against torch.")
def export(run: Path, out: Path, **choices: Any) -> None:
    """Write the weights of RUN to OUT.safetensors, the halo measured and the spec complete.

    Beside it: a model card (.md), a STAC item (.stac.json) and, with --onnx, an ONNX model.
    """
    from training.export.export import export as write
    from training.fit.kinds import scale_in_words

    exported = write(run, out, **choices)
    weights, spec = exported.weights, exported.weights.spec
    click.echo(
        f"{out.name} {weights.digest[:12]}: {spec.architecture}, {scale_in_words(spec)}, halo {spec.halo_px} px"
    )
    if exported.onnx_difference is not None:
        click.echo(f"ONNX and torch differ by {255 * exported.onnx_difference:.4f} grey levels at most")
    click.echo("beside it: " + ", ".join(path.name for path in exported.files[1:]))
