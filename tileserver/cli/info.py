"""`orthosharp info`: describes a photograph, says what is wrong with it, and what the network will do with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import click

from sr_model import SrModelError, bundled_weights_path, load_weights
from tileserver.cli.card import Card, entry, estimate_line
from tileserver.cli.exits import refusing
from tileserver.cli.options import SettingsCommand, job_count, job_settings, settings_options
from tileserver.errors import OutsideError, ReadError, TileServerError
from tileserver.jobs.seed.estimate import SeedEstimate, estimate
from tileserver.jobs.seed.plan import SeedPlan
from tileserver.jobs.seed.prepare import SeedRequest, make_plan
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.render.appearance import choose_appearance
from tileserver.service import TileService
from tileserver.settings import Settings
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms


@click.command(cls=SettingsCommand)
@click.argument("source", nargs=-1, required=True)
@settings_options("info")
@click.option(
    "--estimate/--no-estimate",
    "estimated",
    default=True,
    show_default=True,
    help="Restore a few samples, to tell how long all of it takes on this machine.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Report in JSON; every warning has a code and its text."
)
def info(*, given: dict[str, Any], estimated: bool, as_json: bool) -> None:
    """Describe SOURCE, say what is wrong with it, and what the network will do with it."""
    with refusing(OutsideError, ReadError):
        settings = job_settings(given)
        with _open_card(settings, estimated=estimated) as (card, service):
            if not as_json:
                click.echo("\n".join(card.lines()))
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


@contextmanager
def _open_card(settings: Settings, *, estimated: bool) -> Iterator[tuple[Card, TileService | None]]:
    """The photograph; with the service that restores samples of it, if they are wanted."""
    if estimated:
        with closing(TileService(settings)) as service:
            view = service.rasters.view("restored", WEB_MERCATOR)
            yield Card(service.old, service.restorer.spec, service.appearance, view), service
        return
    with closing(Source.of_settings(settings)) as opened:
        spec = load_weights(settings.weights or bundled_weights_path()).spec
        appearance = choose_appearance(spec, opened, settings)
        view = View.of_tms(opened, supported_tms().get(WEB_MERCATOR), appearance.scale)
        yield Card(opened, spec, appearance, view), None


def _estimate(service: TileService | None) -> tuple[SeedPlan | None, SeedEstimate | None, str]:
    """The plan of `seed` without options, what it costs, or why that is unknown."""
    if service is None:
        return None, None, ""
    request = SeedRequest()
    try:
        plan = make_plan(service, request)
        return plan, estimate(service, plan, request.encoding, job_count({"jobs": None})), ""
    except (TileServerError, SrModelError) as error:
        return None, None, str(error)
