"""Rewrites the tables of docs/settings.md from the declarations in `Settings`: `make docs`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

import click

from tileserver.cli.options import as_text, environment_name, flags, value_range, value_type
from tileserver.settings import OPTIONS, SERVE, Command, Settings

_GENERATED: Final = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_MAP_KEYS: Final = "keys of a map"


@click.command()
@click.argument("page", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(page: Path) -> None:
    """Rewrite the generated parts of PAGE."""
    page.write_text(rewrite(page.read_text(encoding="utf-8")), encoding="utf-8")


def rewrite(page: str) -> str:
    """A page with everything between `<!-- generated: SECTION -->` and `<!-- end -->` brought up to date."""
    return _GENERATED.sub(lambda found: f"{found[1]}{_generate(found[2])}\n{found[3]}", page)


def _generate(what: str) -> str:
    if what == _MAP_KEYS:
        return ", ".join(f"`{name}`" for name, option in OPTIONS.items() if option.per_map)
    return table(what)


def table(section: str) -> str:
    """The settings of a section as a table in Markdown; commands have a column if any but `serve` takes one."""
    names = [name for name, option in OPTIONS.items() if option.section == section]
    if not names:
        raise click.ClickException(f"there is no section {section!r}")
    header = ["environment", "option", "value", "default", "meaning"]
    rows = [_row(name) for name in names]
    if any(OPTIONS[name].commands != SERVE for name in names):
        header.append("commands")
        rows = [[*row, _commands(OPTIONS[name].commands)] for name, row in zip(names, rows, strict=True)]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str) -> list[str]:
    field, option = Settings.model_fields[name], OPTIONS[name]
    shown = [name.upper()] if option.positional else flags(name, value_type(field))
    return [
        f"`{environment_name(name)}`",
        ", ".join(f"`{one}`" for one in shown),
        _value(name),
        _default(name),
        (field.description or "").replace("|", r"\|"),
    ]


def _value(name: str) -> str:
    """Return the values that a setting takes: its choices, its range, or its placeholder."""
    field = Settings.model_fields[name]
    kind, limits = value_type(field), value_range(field)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is bool:
        return "`true`, `false`"
    if "min" in limits and "max" in limits:
        return f"{limits['min']} to {limits['max']}"
    if "min" in limits:
        return f"{'above' if limits['min_open'] else 'at least'} {limits['min']}"
    return f"`{OPTIONS[name].metavar or name.upper()}`"


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.is_required():
        return "required"
    if (words := OPTIONS[name].default_text) or field.default is None:
        return words or "none"
    return f"`{as_text(field.default)}`"


def _commands(commands: frozenset[Command]) -> str:
    everything = get_args(Command)
    return "all" if commands == set(everything) else ", ".join(one for one in everything if one in commands)


if __name__ == "__main__":
    main()
