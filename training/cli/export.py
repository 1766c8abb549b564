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
@click.option(
    "--name", default="", show_default="its architecture", help="Name of the model in HTTP headers."
)
@click.option("--provenance", required=True, help="Describe in a sentence what it was trained on.")
@click.option("--credit", required=True, help="Attribution of the photographs that it was trained on.")
@click.option(
    "--licence",
    default="Apache-2.0",
    show_default=True,
    help="Licence of the weights, as an SPDX identifier.",
)
@click.option(
    "--take",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="Export the run's last weights, or those with the best score.",
)
@click.option(
    "--scores", type=FILE, help="Include the scores that `evaluate --json` wrote about these weights."
)
@click.option("--onnx", is_flag=True, help="Write an ONNX model too, checked against torch.")
def export(run: Path, out: Path, **options: Any) -> None:
    """Measure the halo of the network of RUN, complete its spec, and write both to OUT.safetensors.

    A model card (.md), a STAC item (.stac.json) and, with --onnx, an ONNX model are written beside it.
    """
    from training.export.export import export as write
    from training.fit.kinds import scale_in_words

    exported = write(run, out, **options)
    weights, spec = exported.weights, exported.weights.spec
    click.echo(
        f"{out.name} {weights.digest[:12]}: {spec.architecture}, {scale_in_words(spec)}, halo {spec.halo_px} px"
    )
    if exported.onnx_difference is not None:
        click.echo(f"ONNX and torch differ by {255 * exported.onnx_difference:.4f} grey levels at most")
    click.echo("beside it: " + ", ".join(path.name for path in exported.files[1:]))
