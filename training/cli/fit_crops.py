"""`orthosharp-train fit --crops`: the options that apply, call, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

# Options of `fit` that mean the same here; of the others none has a meaning.
_SHARED: Final = ("steps", "batch", "lr", "ema", "seed")
_KNOWN: Final = {*_SHARED, "sizes_px", "workers", "run", "weights", "crops", "init", "resume", "every"}


def fit_crops(
    context: click.Context, crops: Sequence[Path], run: Path, weights: Sequence[str], **how: Any
) -> None:
    """Learn a teacher's answers; options that were not given have the defaults of this kind of run."""
    from training.teach.learn import LearnConfig, learn

    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, None)
    }
    if foreign := sorted(given.keys() - _KNOWN):
        shown = {parameter.name: parameter.get_error_hint(context) for parameter in context.command.params}
        raise click.UsageError(f"{shown[foreign[0]]} has no meaning with --crops: leave it out")
    sizes = given.get("sizes_px", (LearnConfig.side_px,))
    if len(sizes) != 1 or sizes[0] % 8:
        raise click.BadParameter("with --crops one size is learnt, a multiple of 8", param_hint="--sizes")
    chosen = {name: given[name] for name in _SHARED if name in given}
    config = LearnConfig(
        crops=tuple(map(str, crops)), side_px=sizes[0], loss=_loss_weights(weights), **chosen
    )
    trained = learn(config, run, workers=context.params["workers"], **how)
    click.echo(f"{run / 'last.safetensors'} {trained.digest[:12]}")


def _loss_weights(options: Sequence[str]) -> Any:
    from training.teach.learn import TaughtWeights

    known = [item.name for item in fields(TaughtWeights)]
    chosen = {}
    for option in options:
        name, _, text = option.partition("=")
        if name not in known:
            raise click.BadParameter(
                f"{name!r} is not a term of this loss; known: {', '.join(known)}", param_hint="--weight"
            )
        try:
            chosen[name] = float(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a number", param_hint="--weight") from None
    return TaughtWeights(**chosen)
