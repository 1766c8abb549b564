"""`orthosharp info`: describes a photograph, and checks whether the network can restore it."""

from __future__ import annotations

from typing import Any

import click

from sr_model import bundled_weights_path, load_weights
from tileserver.cli.exits import refusing
from tileserver.cli.options import SettingsCommand, make_settings, settings_options
from tileserver.errors import OutsideError
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms


@click.command(cls=SettingsCommand)
@click.argument("source")
@settings_options("info")
def info(*, given: dict[str, Any]) -> None:
    """Describe SOURCE, and say whether the network can restore it."""
    with refusing(OutsideError):
        settings = make_settings(given)
        opened = Source.of_settings(settings)
        spec = load_weights(settings.weights or bundled_weights_path()).spec
        spec.check_source_gsd(opened.info.pixel.gsd_m)
        view = View(opened, supported_tms().get(WEB_MERCATOR), spec.gsd_m)
    found, pyramid = opened.info, view.pyramid
    click.echo(
        f"{found.name}: {found.width} x {found.height} px of {found.dtype}, bands {list(found.bands)}\n"
        f"  pixel size            {found.pixel.gsd_m:.3f} m\n"
        f"  west south east north {' '.join(f'{value:.5f}' for value in found.bounds_lonlat)}\n"
        f"  overviews             {list(found.overviews) or 'none'}\n"
        f"  credit                {found.credit or 'none in the file: serve it with --credit'}\n"
        f"  zooms                 {pyramid.min_zoom}-{pyramid.max_zoom}, restored at {pyramid.native_zoom}"
    )
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
