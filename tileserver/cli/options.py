"""Options that `seed` and `restore` share: which photograph, which network, how much at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import ValidationError

from tileserver.errors import SettingsError
from tileserver.settings import Settings

DEMO: Final = Path(__file__).parents[2] / "examples" / "demo"

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--weights", type=click.Path(path_type=Path), help="Weights file [default: the bundled one]."
    ),
    click.option(
        "--runtime", type=click.Choice(["auto", "torch", "openvino"]), help="What runs the network."
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where it runs."),
    click.option("--bands", metavar="R,G,B", help="Bands to show, as for serve."),
    click.option("--rescale", metavar="MIN,MAX", help="Values that become black and white, as for serve."),
    click.option("--tone", type=click.Choice(["model", "old"]), help="Whose colours, as for serve."),
    click.option("--contrast", type=float, help="Factor around middle grey, as for serve."),
    click.option("--credit", help="Whose photograph it is [default: what the file says]."),
    click.option(
        "--jobs", type=click.IntRange(1, 64), help="Metatiles worked on at once [default: by the cores]."
    ),
    click.option("--json", "as_json", is_flag=True, help="Report in JSON, an object a line."),
)
_SETTINGS: Final = ("weights", "runtime", "device", "bands", "rescale", "tone", "contrast", "credit")


def work_options(command: Command) -> Command:
    """Give a click command the options of long work on a photograph."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def work_settings(source: str, options: dict[str, Any], **more: Any) -> Settings:
    """Settings of the server out of those options, and `more`.

    Raises:
        SettingsError: an option makes no sense.
    """
    chosen = {"source": source, **{name: options[name] for name in _SETTINGS}, **more}
    # A store of the environment is the server's, and may be the very archive that is made here.
    return make_settings(chosen, demo=False).model_copy(update={"store": None})


def job_count(options: dict[str, Any]) -> int:
    """Metatiles that are worked on at the same time."""
    return int(options["jobs"] or max(3, os.cpu_count() or 1))


def make_settings(options: dict[str, Any], *, demo: bool) -> Settings:
    """Settings from the command line over the environment.

    Raises:
        SettingsError: an option makes no sense, there is no source, or no demo.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if demo:
        old, new = DEMO / "2010.tif", DEMO / "2017.tif"
        if not (old.exists() and new.exists()):
            raise SettingsError(
                "the demo's photographs are not installed: clone the repository and call `make demo` there, "
                "or serve a photograph of your own with: orthosharp serve OLD.tif"
            )
        given = {"source": str(old), "new": str(new), "name": "Demo: a village in 2010", **given}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]) if first["loc"] else "settings"
        if option == "source":
            raise SettingsError(
                "which photograph? Give it as SOURCE, set ORTHOSHARP_SOURCE, or try --demo"
            ) from error
        raise SettingsError(f"--{option.replace('_', '-')}: {first['msg']}") from error
