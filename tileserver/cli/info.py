"""`orthosharp info`: what a photograph is, and whether the network can restore it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sr_model import bundled_weights_path, load_weights
from tileserver.cli.exits import refusing
from tileserver.cli.options import make_settings
from tileserver.errors import OutsideError
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.tiling.layer import WEB_MERCATOR, supported_tms


@click.command()
@click.argument("source")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights to check against.")
@click.option("--bands", metavar="R,G,B", help="Bands to show, as for serve.")
@click.option("--rescale", metavar="MIN,MAX", help="Values that become black and white, as for serve.")
def info(weights: Path | None, **options: Any) -> None:
    """Show what SOURCE is, and whether the network can restore it."""
    with refusing(OutsideError):
        settings = make_settings(options, demo=False)
        opened = Source.open(settings.source, bands=settings.bands, rescale=settings.rescale)
        spec = load_weights(weights or bundled_weights_path()).spec
        spec.check_source_gsd(opened.info.pixel.gsd_m)
        view = View(opened, supported_tms().get(WEB_MERCATOR), spec.gsd_m)
    found, pyramid = opened.info, view.pyramid
    click.echo(
        f"{found.name}: {found.width} x {found.height} px of {found.dtype}, bands {list(found.bands)}\n"
        f"  pixel on the ground   {found.pixel.gsd_m:.3f} m\n"
        f"  west south east north {' '.join(f'{value:.5f}' for value in found.bounds_lonlat)}\n"
        f"  overviews             {list(found.overviews) or 'none'}\n"
        f"  credit                {found.credit or 'not in the file: give --credit'}\n"
        f"  zooms                 {pyramid.min_zoom}-{pyramid.max_zoom}, restored at {pyramid.native_zoom}"
    )
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
