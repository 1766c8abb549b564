"""`orthosharp.toml`: several maps on one server. All mistakes in it are reported at once, with their lines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sr_model.shipped import BUNDLED
from tileserver.cli.options import environment_name, flag, make_settings, reason_of, setting_of
from tileserver.errors import SettingsError
from tileserver.settings import OPTIONS, Settings
from tileserver.tiling.layer import ONLY_MAP

# The settings that a [maps.NAME] may contain; everything else is a setting of the server and stands above the tables.
MAP_KEYS: Final = frozenset(name for name, option in OPTIONS.items() if option.per_map)
SERVER_KEYS: Final = OPTIONS.keys() - MAP_KEYS
_FILES: Final = ("source", "new", "weights", "footprint", "exclude")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
# First segments of paths that have another meaning.
_TAKEN: Final = frozenset(
    {"restored", "old", "new", "difference", "tiles", "viewer", "healthz", "readyz", "metrics", "maps"}
)
_HEADER: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")


class Mistakes:
    """The mistakes found in a file.

    Args:
        path: the file.
        text: its contents.
    """

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._found: dict[str, None] = {}

    def add(self, message: str, table: str = "", key: str = "") -> None:
        """Add a mistake at a key of a table or, without a key, at the header of the table."""
        self._found[f"{self._path.name}:{self._line(table, key)}: {message}"] = None

    def add_elsewhere(self, message: str) -> None:
        """Add a mistake that the command line or the environment makes."""
        self._found[message] = None

    def raise_if_any(self) -> None:
        """Raise SettingsError with one line for each mistake."""
        if self._found:
            count = "1 mistake" if len(self._found) == 1 else f"{len(self._found)} mistakes"
            raise SettingsError("\n  ".join([f"{count} in the settings of {self._path}:", *self._found]))

    def _line(self, table: str, key: str) -> int:
        current = ""
        for number, line in enumerate(self._lines, 1):
            header = _HEADER.match(line)
            if header:
                current = ".".join(part.strip(" \"'") for part in header[1].split("."))
                if current == table and not key:
                    return number
            elif current == table and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
                return number
        return 1


def read_maps(given: Mapping[str, Any], path: Path | None) -> dict[str, Settings]:
    """Settings of each map by its name, the default map first.

    Args:
        given: settings from the command line, by field name.
        path: of an orthosharp.toml; without it there is one map.

    Raises:
        SettingsError: a setting is invalid, or both a file and SOURCE are given.
    """
    if path is None:
        only = make_settings(given)
        if isinstance(only.source, str) and not Path(only.source).is_dir():
            return {ONLY_MAP: only}
        from tileserver.cli.years import split_years  # reads photographs

        years = split_years(only.source)
        if years is None:
            return {ONLY_MAP: only}
        return {name: make_settings({**given, **own}) for name, own in years.items()}
    if "source" in given:
        raise SettingsError("--config and SOURCE are mutually exclusive: the file names the photographs")
    return read_config(path, given)


def read_config(path: Path, given: Mapping[str, Any]) -> dict[str, Settings]:
    """Settings of each map in a file by its name, the default map first.

    A map's own keys win over the command line, which wins over the server's keys, which win over the environment.

    Args:
        path: a TOML file; relative paths in it are relative to its folder.
        given: settings from the command line, by field name.

    Raises:
        SettingsError: the file cannot be read, or has mistakes; all of them are listed.
    """
    text, document = _parse(path)
    mistakes = Mistakes(path, text)
    server = {key: value for key, value in document.items() if key not in ("maps", "default")}
    for key in MAP_KEYS & server.keys():
        mistakes.add(f"{key} belongs to a map: move it below a [maps.NAME]", key=key)
        del server[key]
    tables = document.get("maps")
    if not isinstance(tables, dict) or not tables:
        mistakes.add('there are no maps: add a [maps.NAME] with source = "OLD.tif"')
        tables = {}
    default = document.get("default", next(iter(tables), ""))
    if tables and not (isinstance(default, str) and default in tables):
        mistakes.add(f"default is not the name of a map: use one of {', '.join(tables)}", key="default")
    found = {}
    for name, table in tables.items():
        own = _map_keys(name, table, path.parent, mistakes)
        settings = None if own is None else _map_settings(name, own, given, server, mistakes)
        if settings is not None:
            found[name] = settings
    mistakes.raise_if_any()
    return {name: found[name] for name in sorted(found, key=lambda name: name != default)}


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: name an existing file with --config") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _map_keys(name: str, table: Any, folder: Path, mistakes: Mistakes) -> dict[str, Any] | None:
    """The settings in the table of a map; None if it is not a table."""
    place = f"maps.{name}"
    if not _NAME.fullmatch(name) or name in _TAKEN:
        mistakes.add(
            f"{name!r} is not a valid name of a map: use lower-case letters, digits, - and _, not the name of a layer",
            place,
        )
    if not isinstance(table, dict):
        mistakes.add(f"{place} is not a table: write [{place}]", "maps", name)
        return None
    for key in table.keys() - MAP_KEYS:
        if key in SERVER_KEYS:
            mistakes.add(f"{key} belongs to the server: move it above the first table", place, key)
        else:
            mistakes.add(f"there is no setting {key!r}", place, key)
    if "source" not in table:
        mistakes.add('source is missing: add source = "OLD.tif"', place)
    own = {key: value for key, value in table.items() if key in MAP_KEYS}
    for key in _FILES:
        if key == "weights" and own.get(key) in BUNDLED:
            continue
        if isinstance(own.get(key), str):
            own[key] = _beside(folder, own[key])
        elif isinstance(own.get(key), list):
            own[key] = [_beside(folder, name) if isinstance(name, str) else name for name in own[key]]
    return own


def _map_settings(
    name: str, own: Mapping[str, Any], given: Mapping[str, Any], server: Mapping[str, Any], mistakes: Mistakes
) -> Settings | None:
    try:
        # The name stands in for a missing source, so that the other mistakes are found as well.
        return Settings(**{"source": name, "name": name, **server, **given, **own})
    except ValidationError as error:
        for one in error.errors():
            key = setting_of(one)
            if key in own:
                mistakes.add(f"{key}: {reason_of(one)}", f"maps.{name}", key)
            elif key in given:
                mistakes.add_elsewhere(f"{flag(key)}: {reason_of(one)}")
            elif key not in server:
                mistakes.add_elsewhere(f"{environment_name(key)}: {reason_of(one)}")
            elif key in SERVER_KEYS:
                mistakes.add(f"{key}: {reason_of(one)}", key=key)
            else:
                mistakes.add(f"there is no setting {key!r}", key=key)
        return None


def _beside(folder: Path, name: str) -> str:
    """Resolve a path relative to the file; URLs and GDAL's virtual paths stay as they are."""
    return name if "://" in name or name.startswith("/vsi") else str(folder / name)
