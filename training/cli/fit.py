"""`orthosharp-train fit`: parse, call, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from training.cli.exits import NamesItsTarget
from training.cli.fit_defaults import (
    check_devices,
    choose_own_texture,
    choose_start_networks,
    choose_threads,
    parse_own_texture,
    saved_choices,
)
from training.cli.params import FILE, FOLDER, OUT_FOLDER, seed_option, threads_option
from training.fit.config import HALF_SCALE_GRID, FitConfig, LossWeights
from training.progress import ProgressBars


def _sizes(text: str) -> tuple[int, ...]:
    """`128,256,500` to (128, 256, 500)."""
    try:
        sizes = tuple(map(int, text.split(",")))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of whole numbers separated by commas") from None
    if not all(64 <= size <= 1024 for size in sizes):
        raise click.BadParameter("every size is 64 to 1024 px")
    return sizes


_DEFAULTS = {item.name: item.default for item in fields(FitConfig)}


@click.command(cls=NamesItsTarget)
@click.argument("pairs", type=FOLDER, nargs=-1)
@click.option("--out", "run", required=True, type=OUT_FOLDER, help="Folder for the run.")
@click.option(
    "--keep-season",
    type=FOLDER,
    multiple=True,
    help="Learn textures but not colours from this one of PAIRS, whose photographs differ in season.",
)
@click.option(
    "--degrade",
    multiple=True,
    metavar="PICTURE[:N]",
    help="Also train on this sharp picture, aged; :N reduces it N times first.",
)
@click.option(
    "--perceptual",
    default=_DEFAULTS["perceptual"],
    show_default=True,
    help="Take VGG16 from torchvision (imagenet), or from a safetensors file.",
)
@click.option(
    "--architecture",
    type=click.Choice(["half_scale", "compact", "resnet34"]),
    show_default="compact; half_scale with --colours photo",
    help="Architecture of the network.",
)
@click.option(
    "--colours",
    type=click.Choice(["network", "photo"]),
    default=_DEFAULTS["colours"],
    show_default=True,
    help="network: colours are translated too, and the weights have the pairs' pixel size. "
    "photo: they stay the photograph's own, and the weights suit photographs of any pixel size.",
)
@click.option(
    "--encoder",
    type=click.Choice(["imagenet", "none"]),
    default=_DEFAULTS["encoder"],
    show_default=True,
    help="Start the encoder of resnet34 from these weights; --init overrides it.",
)
@click.option(
    "--gsd",
    "gsd_m",
    type=click.FloatRange(min=0, min_open=True),
    show_default="that of PAIRS",
    help="Pixel size of the weights, in metres.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=_DEFAULTS["steps"],
    show_default=True,
    help="Number of training steps.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=_DEFAULTS["batch"],
    show_default=True,
    help="Number of crops per step and device at the first size; larger sizes get fewer.",
)
@click.option(
    "--sizes",
    "sizes_px",
    type=_sizes,
    metavar="PX[,PX...]",
    default=",".join(map(str, FitConfig.sizes_px)),
    show_default=True,
    help="Side lengths of the crops, such as 128,256,500: each gets an equal share of the steps.",
)
@click.option(
    "--perceptual-every",
    type=click.IntRange(min=1),
    default=_DEFAULTS["perceptual_every"],
    show_default=True,
    help="Compute the terms that need VGG16, the most expensive ones, only every N steps.",
)
@click.option(
    "--aged-share",
    type=click.FloatRange(0, 1),
    default=_DEFAULTS["aged_share"],
    show_default=True,
    help="Share of the crops that are aged instead of real.",
)
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULTS["lr"],
    show_default=True,
    help="Highest learning rate.",
)
@click.option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    default=_DEFAULTS["ema"],
    show_default=True,
    help="Decay of the moving average of the weights, per step.",
)
@click.option(
    "--find-lr",
    is_flag=True,
    help="Try a hundred growing rates on these choices, print the loss at each and a rate for --lr; write nothing.",
)
@click.option(
    "--pixels-only", is_flag=True, help="Learn colours and structure alone, as a fast start for --init."
)
@click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="TERM=W",
    help="Set the weight of a term of the loss; terms with several take them from shallow to deep, with commas.",
)
@seed_option(_DEFAULTS["seed"])
@click.option(
    "--precision",
    type=click.Choice(["auto", "32-true", "bf16-mixed", "16-mixed"]),
    default=_DEFAULTS["precision"],
    show_default=True,
    help="Precision of the arithmetic; auto takes half precision where the device supports it.",
)
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=_DEFAULTS["devices"],
    show_default=True,
    help="Number of GPUs per node.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    default=_DEFAULTS["nodes"],
    show_default=True,
    help="Number of nodes.",
)
@threads_option(_DEFAULTS["threads"])
@click.option(
    "--own-texture",
    type=parse_own_texture,
    metavar="SHARE[,IN_WOODS]",
    show_default="that of --init, or 0.15,0.5",
    help="Share of its own texture that a photograph keeps, and where texture has no direction, 0 to 1; "
    "with --colours photo.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=_DEFAULTS["workers"],
    show_default="by the number of processors",
    help="Number of loading processes per device.",
)
@click.option(
    "--validate-every",
    type=click.IntRange(min=0),
    default=_DEFAULTS["validate_every"],
    show_default=True,
    help="Score the validation chips every N steps; 0 is never.",
)
@click.option(
    "--crops",
    type=FOLDER,
    multiple=True,
    help="Learn a teacher's answers instead of PAIRS, from a folder that `crops` made; can be repeated.",
)
@click.option("--init", type=FILE, help="Start from these weights.")
@click.option("--resume", is_flag=True, help="Continue from the run's saved progress.")
@click.option(
    "--every", type=click.IntRange(min=1), default=100, show_default=True, help="Save every N steps."
)
def fit(
    pairs: tuple[Path, ...],
    run: Path,
    keep_season: tuple[Path, ...],
    gsd_m: float | None,
    architecture: str | None,
    colours: str,
    pixels_only: bool,
    weights: tuple[str, ...],
    crops: tuple[Path, ...],
    init: Path | None,
    resume: bool,
    every: int,
    find_lr: bool,
    threads: int,
    own_texture: tuple[float, float] | None,
    **choices: Any,
) -> None:
    """Train a network on folders of PAIRS, and on sharp pictures that are aged."""
    if crops:
        from training.cli.fit_crops import fit_crops

        fit_crops(click.get_current_context(), crops, run, weights, init=init, resume=resume, every=every)
        return
    from lightning.fabric.utilities import rank_zero_only

    from training.fit.run import fit as train

    if missing := set(keep_season) - set(pairs):
        raise click.BadParameter(
            f"{min(missing)} is not one of PAIRS: name it there too", param_hint="--keep-season"
        )
    check_devices(choices["devices"])
    saved = saved_choices(run, resume=resume)
    architecture = architecture or ("half_scale" if colours == "photo" else FitConfig.architecture)
    config = FitConfig(
        pairs=tuple(map(str, pairs)),
        keep_season=tuple(map(str, keep_season)),
        gsd_m=_relative_gsd(gsd_m) if colours == "photo" else _pair_gsd(pairs, gsd_m),
        colours=colours,
        architecture=architecture,
        loss=_loss_weights(weights, pixels_only, architecture),
        threads=choose_threads(threads, saved, choices["devices"]),
        own_texture=choose_own_texture(own_texture, saved, init, colours),
        start_networks=choose_start_networks(saved, init),
        **choices,
    )
    if find_lr:
        _tell_rate(config, init)
        return
    trained = train(config, run, init=init, resume=resume, every=every)
    rank_zero_only(click.echo)(f"{run / 'last.safetensors'} {trained.digest[:12]}")


def _tell_rate(config: FitConfig, init: Path | None) -> None:
    from training.fit.rate_finder import find_rate

    with ProgressBars() as bars:
        curve = find_rate(config, init=init, progress=bars)
    click.echo(curve.table())
    click.echo(f"--lr {curve.suggested:g} is a third of the rate from which on the loss rose")


def _relative_gsd(wanted_m: float | None) -> float:
    """Relative weights have no pixel size."""
    if wanted_m is not None:
        raise click.BadParameter(
            "weights with the photograph's colours suit any pixel size: leave it out, or choose --colours network",
            param_hint="--gsd",
        )
    return 0.0


def _pair_gsd(pairs: Sequence[Path], wanted_m: float | None) -> float:
    """The one pixel size of all pairs."""
    from training.data.manifest import check_gsd, read_site

    sites = [read_site(folder) for folder in pairs]
    gsd_m = wanted_m or (float(sites[0]["gsd_m"]) if sites else FitConfig.gsd_m)
    for folder, site in zip(pairs, sites, strict=True):
        check_gsd(folder, site, (0.9 * gsd_m, 1.1 * gsd_m))
    return gsd_m


def _loss_weights(options: Sequence[str], pixels_only: bool, architecture: str) -> LossWeights:
    lengths = {item.name: _length(item.default) for item in fields(LossWeights)}
    chosen: dict[str, Any] = {}
    for option in options:
        name, _, text = option.partition("=")
        if name not in lengths:
            known = ", ".join(sorted(lengths))
            raise click.BadParameter(
                f"{name!r} is not a term of the loss; known: {known}", param_hint="--weight"
            )
        try:
            values = tuple(map(float, text.split(",")))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a number", param_hint="--weight") from None
        if len(values) != lengths[name]:
            raise click.BadParameter(
                f"{name} takes {lengths[name]} numbers, separated by commas", param_hint="--weight"
            )
        chosen[name] = values if isinstance(getattr(LossWeights, name), tuple) else values[0]
    start = LossWeights.of_pixels() if pixels_only else LossWeights()
    if architecture == "half_scale":
        start = replace(start, grid=HALF_SCALE_GRID)
    return replace(start, **chosen)


def _length(default: Any) -> int:
    return len(default) if isinstance(default, tuple) else 1
