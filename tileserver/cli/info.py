"""`orthosharp info`: describes a photograph, and checks whether the network can restore it."""

from __future__ import annotations

from typing import Any

import click

from sr_model import ModelSpec, bundled_weights_path, load_weights
from tileserver.cli.exits import refusing
from tileserver.cli.options import SettingsCommand, make_settings, settings_options
from tileserver.errors import OutsideError
from tileserver.photo.source import Source
from tileserver.photo.view import View
from tileserver.render.appearance import Appearance, choose_appearance
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
        appearance = choose_appearance(spec, opened, settings)
        view = View.of_tms(opened, supported_tms().get(WEB_MERCATOR), appearance.scale)
    found, pyramid = opened.info, view.pyramid
    click.echo(
        f"{found.name}: {found.width} x {found.height} px of {found.dtype}, bands {list(found.bands)}\n"
        f"  pixel size            {found.pixel.gsd_m:.3f} m\n"
        f"  west south east north {' '.join(f'{value:.5f}' for value in found.bounds_lonlat)}\n"
        f"  overviews             {list(found.overviews) or 'none'}\n"
        f"  credit                {found.credit or 'none in the file: serve it with --credit'}\n"
        f"  zooms                 {pyramid.min_zoom}-{pyramid.max_zoom}, restored at {pyramid.native_zoom}"
    )
    if spec.is_relative:
        _describe_appearance(spec, opened, appearance, view.pixel(pyramid.native_zoom).gsd_m)
    for warning in (*found.warnings, *spec.export_warnings):
        click.echo(f"warning: {warning}", err=True)


def _describe_appearance(
    spec: ModelSpec, photograph: Source, appearance: Appearance, output_gsd_m: float
) -> None:
    traits, resolved_m = photograph.traits, appearance.resolved_gsd_m
    basis = {"edges": f"{traits.edges} edges", "spectrum": "its spectrum", "none": "nothing: no texture"}
    click.echo(
        f"  resolution            {resolved_m:.3f} m, restored at {output_gsd_m:.3f} m "
        f"(ratio {resolved_m / output_gsd_m:.2f})\n"
        f"  edges                 blur {traits.blur_px:.2f} px, unsharp mask {traits.halo_amount:.2f} "
        f"with radius {traits.halo_radius_px:.2f} px, from {basis[traits.source]}\n"
        f"  grain                 {traits.grain:.2f} grey levels\n"
        f"  colours               {appearance.finish.colour_map.describe()}"
    )
    for warning in spec.scale_warnings(resolved_m, output_gsd_m):
        click.echo(f"warning: {warning}", err=True)
