"""`orthosharp-train site`: parse, call, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from training.cli.exits import NamesItsTarget
from training.cli.fit_defaults import choose_threads
from training.cli.pairs import reading_options, readings_of
from training.cli.params import FILE, NEW_FILE, OUT_FOLDER, seed_option, threads_option, validation_option
from training.errors import RunError
from training.site.options import NIGHT_H, SiteOptions


@click.command(cls=NamesItsTarget)
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option("--out", type=NEW_FILE, required=True, help="Write the weights to this .safetensors file.")
@click.option(
    "--run",
    type=OUT_FOLDER,
    show_default="beside --out, OUT-run",
    help="Folder of the run: pairs, progress, reports and index.html, which shows how far it is.",
)
@click.option(
    "--colours",
    type=click.Choice(["photo", "network"]),
    default=SiteOptions.colours,
    show_default=True,
    help="photo: the photograph keeps its own colours. network: those of NEW are learnt too, where both films differ "
    "in the same way everywhere.",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    show_default=f"as long as it takes, {NIGHT_H:g} at most",
    help="Train so many steps that the whole run takes about this long.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Train so many steps, whatever they take.")
@validation_option("the comparison")
@click.option(
    "--judge",
    type=FILE,
    show_default="EfficientNet-lite0",
    help="Judge the feature distance by VGG16 in this safetensors file.",
)
@click.option(
    "--provenance",
    default="",
    show_default="made from both names",
    help="Describe in a sentence what it was trained on.",
)
@click.option(
    "--credit", default="", show_default="the owners of both", help="Attribution of both photographs."
)
@click.option(
    "--sheets",
    type=click.IntRange(1, 100),
    default=SiteOptions.sheets,
    show_default=True,
    help="Number of blind sheets.",
)
@threads_option(SiteOptions.threads)
@seed_option(SiteOptions.seed)
@reading_options
def site(old: Path, new: Path, out: Path, run: Path | None, threads: int, **options: Any) -> None:
    """Make a network of a site's own from OLD and NEW, and say whether it is worth serving.

    Registered pairs are cut, with chips as large as the site allows; the bundled network is trained further on them and
    on chips of NEW that are aged as OLD is; it is compared with the bundled network and bicubic on a block that was
    kept. Time and disk are told before it starts. After a stop of any kind, the same command goes on.
    """
    from training.site.run import make_site

    if out.suffix != ".safetensors":
        raise RunError(f"{out.name} would hold safetensors: name it {out.stem}.safetensors")
    if options["hours"] is not None and options["steps"] is not None:
        raise click.UsageError("--hours and --steps are mutually exclusive: the steps follow from the hours")
    if options["validation"] is not None:
        options["validation"] = tuple(options["validation"])
    read = readings_of(options)
    chosen = SiteOptions(
        old=old,
        new=new,
        out=out,
        run=run or out.with_name(f"{out.stem}-run"),
        read_old=read["old"],
        read_new=read["new"],
        threads=choose_threads(threads, None, 1),
        **options,
    )
    verdict = make_site(chosen, click.echo)
    click.echo(f"{out} is written; blind sheets: {chosen.run / 'sheets' / 'index.html'}")
    click.echo(verdict["sentence"])
