"""`orthosharp.toml`: several maps on one server. Every mistake in it is listed at once, with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tileserver.errors import SettingsError
from tileserver.settings import Settings

# What a [maps.NAME] may say; all else is the server's and stands above the tables.
MAP_KEYS: Final = frozenset(
    {"source", "new", "weights", "name", "credit", "bands", "rescale", "new_bands", "new_rescale"}
    | {"contrast", "tone", "bounds", "zooms"}
)
_FILES: Final = ("source", "new", "weights")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
# First parts of paths that mean something else.
_TAKEN: Final = frozenset(
    {"restored", "old", "new", "difference", "tiles", "viewer", "healthz", "readyz", "metrics"}
)
_HEADER: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")


class Mistakes:
    """Collects what is wrong in a file.

    Args:
        path: the file.
        text: what it says.
    """

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._found: dict[str, None] = {}

    def add(self, what: str, table: str = "", key: str = "") -> None:
        """Note a mistake at a key of a table; without a key, at the table's header."""
        self._found[f"{self._path.name}:{self._line(table, key)}: {what}"] = None

    def raise_if_any(self) -> None:
        """Raise SettingsError with one line for each mistake."""
        if self._found:
            raise SettingsError("\n  ".join([f"{len(self._found)} mistakes in {self._path}:", *self._found]))

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


def read_config(path: Path, options: Mapping[str, Any]) -> dict[str, Settings]:
    """Settings of each map by its name, the default first.

    Args:
        path: a TOML file; what it names is looked for beside it.
        options: of the command line, which win over the file's.

    Raises:
        SettingsError: the file cannot be read, or has mistakes; all of them are listed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: name an existing file with --config") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}") from error
    mistakes = Mistakes(path, text)
    server = {key: value for key, value in document.items() if key not in ("maps", "default")}
    for key in MAP_KEYS & server.keys():
        mistakes.add(f"{key} belongs to a map: put it below a [maps.NAME]", key=key)
        del server[key]
    tables = document.get("maps")
    if not isinstance(tables, dict) or not tables:
        mistakes.add('there is no map: add a [maps.NAME] with source = "OLD.tif"')
        tables = {}
    default = document.get("default", next(iter(tables), ""))
    if tables and not (isinstance(default, str) and default in tables):
        mistakes.add(f"default names no map: use one of {', '.join(tables)}", key="default")
    found = {}
    for name, table in tables.items():
        settings = _map_settings(name, table, {**server, **options}, path.parent, mistakes)
        if settings is not None:
            found[name] = settings
    mistakes.raise_if_any()
    return {name: found[name] for name in sorted(found, key=lambda name: name != default)}


def _map_settings(
    name: str, table: Any, server: Mapping[str, Any], folder: Path, mistakes: Mistakes
) -> Settings | None:
    place = f"maps.{name}"
    if not _NAME.fullmatch(name) or name in _TAKEN:
        mistakes.add(
            f"a map cannot be called {name!r}: use small letters, digits, - and _, and no layer's name", place
        )
    if not isinstance(table, dict):
        mistakes.add(f"{place} is no table: write [{place}]", "maps", name)
        return None
    for key in table.keys() - MAP_KEYS:
        mistakes.add(f"a map has no setting {key!r}: the server's stand above the first table", place, key)
    if "source" not in table:
        mistakes.add('source is missing: add source = "OLD.tif"', place)
    own = {key: value for key, value in table.items() if key in MAP_KEYS}
    for key in _FILES:
        if isinstance(own.get(key), str):
            own[key] = _beside(folder, own[key])
    try:
        # The name stands in for a source that is missing, so that the other mistakes are found as well.
        return Settings(**{"source": name, "name": name, **server, **own})
    except ValidationError as error:
        for one in error.errors():
            key = str(one["loc"][0]) if one["loc"] else ""
            mistakes.add(f"{key}: {one['msg']}", place if key in own else "", key)
        return None


def _beside(folder: Path, name: str) -> str:
    """Files are looked for beside the configuration; addresses and GDAL's own names are left alone."""
    return name if "://" in name or name.startswith("/vsi") else str(folder / name)
