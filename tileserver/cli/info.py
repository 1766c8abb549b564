"""`orthosharp info`: describes a photograph, says what is wrong with it, and what the network will do with it."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import click

from sr_model import SrModelError, load_weights, weights_path
from tileserver.cli.card import Card, entry, estimate_line
from tileserver.cli.options import job_count
from tileserver.errors import TileServerError
from tileserver.photo.source import Source
from tileserver.settings import Settings

if TYPE_CHECKING:
    from tileserver.jobs.seed.estimate import SeedEstimate
    from tileserver.jobs.seed.plan import SeedPlan
    from tileserver.service import TileService


def describe(settings: Settings, *, estimated: bool, as_json: bool) -> None:
    """Print the card of a photograph, and how long all of it takes.

    Args:
        settings: name the photograph and the network.
        estimated: whether to restore a few samples for an estimate; the card is printed before the network is opened.
        as_json: whether to print one JSON object instead.

    Raises:
        StartError, OutsideError, ReadError, sr_model.SrModelError: the photograph cannot be restored.
    """
    with ExitStack() as opened:
        photograph = opened.enter_context(closing(Source.of_settings(settings)))
        card = Card(photograph, load_weights(weights_path(settings.weights)).spec, settings)
        if not as_json:
            for line in card.lines():
                click.echo(line)
        plan, found, reason = None, None, ""
        if estimated:
            # Its libraries take a second to import.
            from tileserver.service import TileService

            opened.pop_all()  # the service closes the photograph
            service = TileService(settings, photograph=photograph)
            opened.callback(service.close)
            plan, found, reason = _estimate(service)
        if as_json:
            click.echo(json.dumps(card.as_json(found)))
            return
        if reason:
            click.echo(entry("all of it", f"cannot be estimated: {reason}"))
        elif plan is not None and found is not None:
            click.echo(estimate_line(found, plan.min_zoom, plan.max_zoom))
        _say(card)


def _say(card: Card) -> None:
    for warning in card.warnings:
        click.echo(f"warning: {warning}", err=True)
    if card.commands:
        click.echo("\n".join(["to mend it:", *(f"  {command}" for command in card.commands)]))


def _estimate(service: TileService) -> tuple[SeedPlan | None, SeedEstimate | None, str]:
    """The plan of `seed` without options, what it costs, or why that is unknown."""
    from tileserver.jobs.seed.estimate import estimate
    from tileserver.jobs.seed.prepare import SeedRequest, make_plan

    request = SeedRequest()
    try:
        plan = make_plan(service, request)
        return plan, estimate(service, plan, request.encoding, job_count({"jobs": None})), ""
    except (TileServerError, SrModelError) as error:
        return None, None, str(error)
