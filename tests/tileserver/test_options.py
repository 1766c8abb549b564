"""Each setting is declared once: flags, environment, orthosharp.toml and docs/settings.md say the same about it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import pytest
from click.testing import CliRunner
from command_calls import call, refused
from pydantic.fields import FieldInfo

from tileserver.cli.config_file import read_config, read_maps
from tileserver.cli.docs_table import rewrite
from tileserver.cli.exits import refusing
from tileserver.cli.main import main
from tileserver.cli.options import (
    SettingsCommand,
    as_text,
    environment_name,
    flag,
    flags,
    make_settings,
    setting_option,
    settings_options,
    value_range,
    value_type,
)
from tileserver.errors import SettingsError, StartError, StoreError
from tileserver.settings import OPTIONS, Command, Option, Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
# What the environment and the command line take for settings that are several values.
EXAMPLES = {
    "URL": "https://geocoder.example/search?q={query}",
    "R,G,B": "4,1,2",
    "MIN,MAX": "5,4000",
    "VALUE[,TOLERANCE]": "255,8",
    "W,S,E,N": "-73.5,42,-73,43",
    "FIRST,LAST": "12,19",
    "AMOUNT,RADIUS": "0.7,1.2",
    "ORIGIN,...": "https://a.example,https://b.example:8080",
    "404|204|transparent": "204,old=404",
}
each_setting = pytest.mark.parametrize("name", OPTIONS)
each_command = pytest.mark.parametrize("command", get_args(Command))


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("ORTHOSHARP_")]:
        monkeypatch.delenv(variable)


@click.command(cls=SettingsCommand)
@click.argument("source", required=False)
@settings_options("serve")
def probe(*, given: dict[str, Any]) -> dict[str, Any]:
    """Give back what `orthosharp serve` gets from the command line."""
    return given


def parsed(*arguments: str) -> dict[str, Any]:
    given: dict[str, Any] = probe.main(list(arguments), standalone_mode=False)
    return given


def example(name: str) -> str:
    """A valid value, other than the default, as text."""
    field, option = Settings.model_fields[name], OPTIONS[name]
    kind, limits = value_type(field), value_range(field)
    if get_origin(kind) is Literal:
        return str(get_args(kind)[-1])
    if kind is bool:
        return as_text(not field.default)
    if kind in (int, float):
        ends = [limits[end] for end in ("max", "min") if limits.get(end, field.default) != field.default]
        return str(kind(ends[0] if "max" in limits else limits.get("min", 0) + 1))
    return EXAMPLES.get(option.metavar or "", "/some/thing")


def words(name: str, text: str) -> list[str]:
    """How the command line says a value."""
    if OPTIONS[name].positional:
        return [text]
    if value_type(Settings.model_fields[name]) is bool:
        return [flags(name, bool)[text == "false"]]
    return [flag(name), text]


def toml(folder: Path, server: str = "", own: str = "") -> Path:
    path = folder / "orthosharp.toml"
    path.write_text(f'{server}\n[maps.m]\nsource = "/a.tif"\n{own}\n')
    return path


def as_toml(name: str, value: Any) -> str:
    return f"{name} = {json.dumps(str(value) if isinstance(value, Path) else value)}"


def test_the_page_of_settings_is_up_to_date() -> None:
    page = PAGE.read_text()
    assert rewrite(page) == page, "run `make docs`"


@each_setting
def test_the_page_of_settings_has_each_setting(name: str) -> None:
    rows = [
        line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{environment_name(name)}` |")
    ]
    assert len(rows) == 1
    assert str(Settings.model_fields[name].description) in rows[0]
    described = PAGE.read_text().partition("keys of a map -->")[2].partition("<!-- end -->")[0]
    assert (f"`{name}`" in described) == OPTIONS[name].per_map


@each_command
def test_the_help_of_a_command_has_its_settings_and_no_others(command: Command) -> None:
    result = CliRunner().invoke(main, [*command.split(), "--help"], terminal_width=1000)
    usage, _, options = result.stdout.partition("Options:\n")
    own = {"seed": {"zooms"}}.get(command, set())  # of seed alone, and not a setting
    for name, option in OPTIONS.items():
        described = re.search(rf"^  {flag(name)} ", options, re.MULTILINE)
        if option.positional:
            assert (name.upper() in usage) == (command in option.commands)
        elif command in option.commands:
            assert described
            assert f"\n{option.section}:\n" in options[: described.start()]
            assert str(Settings.model_fields[name].description) in " ".join(options.split())
        else:
            assert not described or name in own


def test_help_shows_defaults_and_ranges_of_the_declaration() -> None:
    shown = " ".join(call("serve", "--help").stdout.split())
    assert "[default: 8000; 0<=x<=65535]" in shown
    assert "[default: 2.0; x>0]" in shown
    assert "[default: (the bundled network)]" in shown
    assert "--overload [refuse|old]" in shown


@each_setting
def test_a_value_is_the_same_from_flag_environment_and_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, base = example(name), {"source": "/a.tif", "name": "m"}
    base.pop(name, None)
    by_flag = make_settings({**base, **parsed(*words(name, text))})
    assert getattr(by_flag, name) != Settings.model_fields[name].default

    line = as_toml(name, getattr(by_flag, name))
    own = "" if name == "source" else line
    path = toml(tmp_path, own=own) if OPTIONS[name].per_map else toml(tmp_path, server=line)
    if name == "source":
        path.write_text(f"[maps.m]\n{line}\n")
    assert read_config(path, {}) == {"m": by_flag}

    monkeypatch.setenv(environment_name(name), text)
    assert make_settings(base) == by_flag


@each_setting
def test_a_key_in_the_wrong_part_of_the_file_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    line = as_toml(name, getattr(Settings(**{"source": "/a.tif", name: example(name)}), name))
    if OPTIONS[name].per_map:
        path, reason, number = toml(tmp_path, server=line), "belongs to a map", 1
    else:
        path, reason, number = toml(tmp_path, own=line), "belongs to the server", 4
    with pytest.raises(SettingsError, match=f"orthosharp.toml:{number}: {name} {reason}"):
        read_config(path, {})


def test_the_command_line_wins_over_the_file_and_the_file_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toml(tmp_path, server="port = 9001\nthreads = 5", own='tone = "model"')
    for variable, value in (
        ("PORT", "9002"),
        ("THREADS", "6"),
        ("BATCH", "7"),
        ("TONE", "old"),
        ("CREDIT", "E"),
    ):
        monkeypatch.setenv(f"ORTHOSHARP_{variable}", value)
    settings = read_maps(parsed("--port", "9000", "--contrast", "1.5", "--colours", "photo"), path)["m"]
    assert (settings.port, settings.threads, settings.batch) == (9000, 5, 7)
    # What the file says of one map wins over what is said of all; the rest reaches every map.
    assert (settings.tone, settings.contrast, settings.credit) == ("model", 1.5, "E")
    assert make_settings(parsed("a.tif", "--port", "9000")).port == 9000


def test_a_flag_can_say_the_default_against_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORTHOSHARP_PORT", "9000")
    assert make_settings(parsed("a.tif")).port == 9000
    assert make_settings(parsed("a.tif", "--port", "8000")).port == 8000


def test_an_error_names_where_the_value_comes_from(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("port", "99999"), ("port", "high"), ("tone", "loud"), ("contrast", "9")):
        refused(call("serve", photo, flag(name), value), flag(name), value)
    for name, value in (
        ("bands", "1,2"),
        ("rescale", "5"),
        ("rescale", "0,inf"),
        ("nodata", "black"),
        ("nodata", "1,2,3"),
        ("nodata", "0,-1"),
        ("bounds", "3,2,1,0"),
        ("cors_origins", "a.example"),
        ("outside", "white"),
        ("root_path", "maps"),
    ):
        result = call("serve", photo, flag(name), value)
        refused(result, f"orthosharp: {flag(name)}: ", "such as")
        assert len(result.stderr.splitlines()) == 1
    monkeypatch.setenv("ORTHOSHARP_BATCH", "99")
    for command in (["serve", photo], ["seed", photo, tmp_path / "a.mbtiles"], ["info", photo]):
        refused(call(*command), "orthosharp: ORTHOSHARP_BATCH: ", "64")
    with pytest.raises(SettingsError, match=r"2 mistakes.*\n +--bands: .*\n +ORTHOSHARP_BATCH: "):
        read_config(toml(tmp_path), {"bands": "1,2"})


def test_without_a_photograph_every_command_says_how_to_name_one(tmp_path: Path) -> None:
    refused(call("serve"), "SOURCE", "ORTHOSHARP_SOURCE", "--demo")
    (tmp_path / "store").mkdir()
    refused(call("cache", "clean", tmp_path / "store"), "SOURCE", "ORTHOSHARP_SOURCE")


def test_a_boolean_becomes_a_pair_of_flags() -> None:
    field = FieldInfo(annotation=bool, default=False, description="Be quiet.")
    option = setting_option("be_quiet", field, Option("Server"))
    command = click.command()(option(lambda be_quiet: be_quiet))
    assert command.main(["--be-quiet"], standalone_mode=False) is True
    assert command.main(["--no-be-quiet"], standalone_mode=False) is False
    assert CliRunner().invoke(command, ["--help"]).output.count("Be quiet.") == 1


def test_refusing_ends_with_two_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, refusing():
        raise StartError("no way")
    assert (ended.value.code, capsys.readouterr().err) == (2, "orthosharp: no way\n")
    with pytest.raises(StoreError), refusing():
        raise StoreError("not asked for")
    with pytest.raises(SystemExit), refusing(StoreError):
        raise StoreError("asked for")


def test_the_old_name_of_colours_still_works_and_warns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert make_settings({"source": "/a.tif", "tone": "old"}).colours == "photo"
    monkeypatch.setenv("ORTHOSHARP_TONE", "old")
    assert make_settings({"source": "/a.tif"}).colours == "photo"
    monkeypatch.delenv("ORTHOSHARP_TONE")
    assert read_config(toml(tmp_path, own='tone = "model"'), {})["m"].colours == "corrected"
    assert [record.message for record in caplog.records].count(
        "tone is deprecated: set colours to photo instead of tone to old"
    ) == 2


def test_a_pixel_size_and_a_native_zoom_are_refused_before_any_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing.tif"
    result = call("serve", missing, "--native-zoom", 21, "--pixel-size", 0.3)
    refused(result, "--native-zoom", "mutually exclusive")
    monkeypatch.setenv("ORTHOSHARP_NATIVE_ZOOM", "21")
    with pytest.raises(SettingsError, match=r"ORTHOSHARP_NATIVE_ZOOM: .*mutually exclusive"):
        make_settings({"source": "old.tif", "pixel_size": 0.3})
    assert make_settings({"source": "old.tif"}).native_zoom == 21
