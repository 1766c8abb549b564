"""`orthosharp-train import`: parse, call, report."""

from __future__ import annotations

from pathlib import Path

import click

from training.cli.exits import NamesItsTarget
from training.cli.params import FILE, NEW_FILE

_SHARE = click.FloatRange(0, 1)
# Of the photograph's pixels; more is seen where the later photograph is compared.
_MOVED_PX = 0.1


@click.command("import", cls=NamesItsTarget)
@click.argument("model", type=FILE)
@click.option(
    "--ratio",
    type=click.Choice(["2", "4"]),
    required=True,
    help="Ratio of the photograph's pixel size to that of the restored picture.",
)
@click.option(
    "--licence", required=True, help="Licence of the model, an SPDX identifier such as BSD-3-Clause."
)
@click.option("--credit", required=True, help="Attribution of the model's authors.")
@click.option("--out", type=NEW_FILE, required=True, help="The .safetensors file to write.")
@click.option(
    "--name", default="", show_default="that of the file", help="Name of the model in HTTP headers."
)
@click.option(
    "--provenance",
    default="",
    show_default="file and architecture",
    help="Sentence about the model's origin.",
)
@click.option(
    "--own-texture",
    type=_SHARE,
    default=0.15,
    show_default=True,
    help="Share of the photograph's own texture that stays.",
)
@click.option(
    "--own-texture-in-woods",
    type=_SHARE,
    default=0.5,
    show_default=True,
    help="Same share where texture has no direction: most models draw woods badly.",
)
def import_model(
    model: Path,
    ratio: str,
    licence: str,
    credit: str,
    out: Path,
    name: str,
    provenance: str,
    own_texture: float,
    own_texture_in_woods: float,
) -> None:
    """Turn a super-resolution MODEL into weights for `orthosharp serve`.

    MODEL is a .safetensors, .pth, .pt or .ckpt file of Real-ESRGAN, SwinIR, HAT, DAT or another architecture that the
    library spandrel knows. Nothing inside of it is run. What the server needs to know is measured, which takes seconds
    to minutes.
    """
    from training.importing.make import Terms, import_model

    terms = Terms(licence=licence, credit=credit, name=name, provenance=provenance)
    click.echo(f"measuring {model.name} ...", err=True)
    done = import_model(
        model, out, int(ratio), terms, own_texture=own_texture, own_texture_in_woods=own_texture_in_woods
    )
    spec, measured = done.weights.spec, done.measured
    click.echo(
        f"{out.name} {done.weights.digest[:12]}: {done.architecture}, enlarges {done.scale} times, "
        f"a ratio of {spec.ratio:.3g}, halo {spec.halo_px} px"
    )
    click.echo(
        f"works on parts of {measured.part_px} px of the photograph, with {measured.context_px} px around them: "
        f"about {measured.part_bytes / 2**30:.1f} GiB"
    )
    if max(map(abs, measured.shift_px)) > _MOVED_PX:
        right, down = measured.shift_px
        click.echo(
            f"warning: the model moves the ground {right:+.2f} px to the right and {down:+.2f} px down, in pixels of "
            "the photograph: maps drawn over it will not fit as well",
            err=True,
        )
