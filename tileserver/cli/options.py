"""Options that several commands have: those of `Settings`, generated from its fields, and those of long jobs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import click
from click.core import ParameterSource
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sr_model.machine import usable_cores
from tileserver.errors import SettingsError
from tileserver.settings import OPTIONS, Command, Option, Settings

Function = Callable[..., Any]

_PLAIN_TYPES: Final[dict[Any, Any]] = {
    bool: click.BOOL,
    int: click.INT,
    float: click.FLOAT,
    Path: click.Path(path_type=Path),
}
_RANGES: Final[dict[Any, Any]] = {int: click.IntRange, float: click.FloatRange}

config_option = click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Several maps: an orthosharp.toml."
)
_JOB_OPTIONS: Final = (
    click.option("--bbox", metavar="W,S,E,N", help="Restrict the output to this rectangle, in degrees."),
    click.option(
        "--area",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Restrict the output to this GeoJSON area.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an existing output."),
    click.option(
        "--jobs",
        type=click.IntRange(1, 64),
        metavar="N",
        show_default="by the number of cores",
        help="Metatiles worked on at the same time.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Report in JSON, one object per line."),
)


class SettingOption(click.Option):
    """A flag for a setting.

    Attributes:
        section: heading in the command's help.
    """

    def __init__(self, *args: Any, section: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section


class SettingsCommand(click.Command):
    """A command whose help lists its own options first, then the settings by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options into the help."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            # Some versions of click have a record of arguments too, which the usage line tells already.
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def settings_options(command: Command) -> Callable[[Function], Function]:
    """Give a click command the flags of its settings.

    The decorated function gets those that were given on the command line as the dict `given`, an argument such as
    SOURCE among them. Defaults are left out, so that the environment and orthosharp.toml can fill the gaps.
    """
    chosen = {name: option for name, option in OPTIONS.items() if command in option.commands}

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(**values: Any) -> Any:
            source_of = click.get_current_context().get_parameter_source
            settings = {name: values.pop(name) for name in chosen}
            given = {
                name: value
                for name, value in settings.items()
                # Some versions of click call an argument given that was given no times.
                if source_of(name) is ParameterSource.COMMANDLINE and value != ()
            }
            return function(given=given, **values)

        decorated: Function = call
        for name, option in reversed(chosen.items()):
            if not option.positional:
                decorated = setting_option(name, Settings.model_fields[name], option)(decorated)
        return decorated

    return decorate


def setting_option(name: str, field: FieldInfo, option: Option) -> Callable[[Function], Function]:
    """The click option of one setting: its type, range, default and help are those of the field."""
    kind, default = value_type(field), field.get_default(call_default_factory=True)
    return click.option(
        "/".join(flags(name, kind)),
        cls=SettingOption,
        section=option.section,
        type=_click_type(kind, field),
        metavar=option.metavar,
        default=as_text(default) if isinstance(default, tuple) else default,
        show_default=option.default_text or True,
        help=field.description,
    )


def value_type(field: FieldInfo) -> Any:
    """Type of a setting's value: int of `int | None`, and of what pydantic checks in addition nothing."""
    kind = field.annotation
    while get_origin(kind) not in (None, Literal, tuple):
        # Of Annotated and of unions with None the first part.
        kind = get_args(kind)[0]
    return kind


def value_range(field: FieldInfo) -> dict[str, Any]:
    """Constraints of a numeric setting, as `click.IntRange` takes them; empty if there are none."""
    found: dict[str, Any] = {}
    for constraint in field.metadata:
        for name, end in (("ge", "min"), ("gt", "min"), ("le", "max"), ("lt", "max")):
            if (limit := getattr(constraint, name, None)) is not None:
                found |= {end: limit, f"{end}_open": name in ("gt", "lt")}
    return found


def _click_type(kind: Any, field: FieldInfo) -> Any:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if kind in _RANGES and (limits := value_range(field)):
        return _RANGES[kind](**limits)
    # What click does not know stays text, which `Settings` parses.
    return _PLAIN_TYPES.get(kind, click.STRING)


def as_text(value: Any) -> str:
    """A value as the command line and the environment take it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def flag(name: str) -> str:
    """`--store-bytes` of `store_bytes`."""
    return f"--{name.replace('_', '-')}"


def flags(name: str, kind: Any) -> tuple[str, ...]:
    """Flags of a setting with values of this type: of a Boolean two, otherwise one."""
    return (flag(name), flag(f"no_{name}")) if kind is bool else (flag(name),)


def environment_name(name: str) -> str:
    """`ORTHOSHARP_STORE_BYTES` of `store_bytes`."""
    return f"{Settings.model_config['env_prefix']}{name}".upper()


def job_options(command: Function) -> Function:
    """Give a click command the options of a long job: which part, how much at once, and how to report."""
    for option in reversed(_JOB_OPTIONS):
        command = option(command)
    return command


def job_count(options: Mapping[str, Any]) -> int:
    """Metatiles that a long job works on at the same time."""
    return int(options["jobs"] or max(3, usable_cores()))


def make_settings(given: Mapping[str, Any], **fixed: Any) -> Settings:
    """Settings from the command line, over those from the environment.

    Args:
        given: settings by field name, as `settings_options` collects them.
        fixed: settings that the command itself decides, over all others.

    Raises:
        SettingsError: a value is invalid, or there is no source.
    """
    try:
        return Settings(**{**given, **fixed})
    except ValidationError as error:
        first = error.errors()[0]
        name = setting_of(first)
        if name == "source" and first["type"] == "missing":
            raise SettingsError(
                "no photograph given: name one as SOURCE, set ORTHOSHARP_SOURCE, or try: orthosharp serve --demo"
            ) from error
        place = flag(name) if name in given else environment_name(name)
        raise SettingsError(f"{place}: {reason_of(first)}") from error


def job_settings(given: Mapping[str, Any], **fixed: Any) -> Settings:
    """As `make_settings`, without a store: that of the environment is the server's, and may be the job's own output.

    Raises:
        SettingsError: see `make_settings`.
    """
    return make_settings(given, **fixed).model_copy(update={"store": None})


def setting_of(error: ErrorDetails) -> str:
    """Name of the setting that an error of pydantic is about."""
    return str(error["loc"][0])


def reason_of(error: ErrorDetails) -> str:
    """Message of an error of pydantic, without the exception's name that it puts in front."""
    return error["msg"].removeprefix("Value error, ")
