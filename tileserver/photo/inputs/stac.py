"""STAC items: `item.json#asset` is a photograph with credit and date (STAC specification 1.0 and 1.1)."""

from __future__ import annotations

import json
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urljoin, urlsplit

from tileserver.errors import SourceError
from tileserver.photo.inputs.naming import is_remote

_TIMEOUT_S: Final = 30.0
# An item is a few kilobytes; more than this is another document.
_MOST_BYTES: Final = 10 * 2**20
_ROLES: Final = ("visual", "data")
_HTTP: Final = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class StacAsset:
    """An asset of an item.

    Attributes:
        href: its path or URL.
        title: id of the item.
        credit: names of those who made or license it; may be empty.
        date: when it was taken, as YYYY-MM-DD, or two dates with a slash; may be empty.
        files: the item, if it is a local file.
    """

    href: str
    title: str
    credit: str
    date: str
    files: tuple[str, ...]


def stac_asset(source: str) -> StacAsset | None:
    """Return the asset that `item.json#asset` or `item.json` names; None if it is something else.

    Raises:
        SourceError: the item cannot be read, or has no such asset.
    """
    place, _, key = source.partition("#") if not Path(source).exists() else (source, "", "")
    path = urlsplit(place).path if _HTTP.match(place) else place
    if not path.lower().endswith((".json", ".geojson")):
        return None
    if is_remote(place) and not _HTTP.match(place):
        raise SourceError(
            f"{place}: STAC items are read from files, http:// and https:// only: download the item"
        )
    document = _load(place)
    if document.get("type") != "Feature" or not isinstance(document.get("assets"), dict):
        if key or document.get("type") != "FeatureCollection":
            raise SourceError(f"{place} is not a STAC item: name the JSON file of a single item")
        return None
    name, asset = _choose(place, document["assets"], unquote(key))
    href = str(asset.get("href", ""))
    if not href:
        raise SourceError(f"{place}: the asset {name} has no href")
    return StacAsset(
        href=_resolve(place, href),
        title=str(document.get("id") or name),
        credit=_credit(document, asset),
        date=_date(document.get("properties") or {}),
        files=() if is_remote(place) else (place,),
    )


def _load(place: str) -> dict[str, Any]:
    try:
        if _HTTP.match(place):
            request = urllib.request.Request(place, headers={"User-Agent": "orthosharp"})  # noqa: S310 - http only
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                document = json.loads(answer.read(_MOST_BYTES))
        else:
            document = json.loads(Path(place).read_text(encoding="utf-8"))
    except (OSError, URLError, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the answer too, and holds the connection
        raise SourceError(f"{place} cannot be read as a STAC item: {error}") from error
    if not isinstance(document, dict):
        raise SourceError(f"{place} is not a STAC item: name the JSON file of a single item")
    return document


def _choose(place: str, assets: dict[str, Any], key: str) -> tuple[str, dict[str, Any]]:
    if key:
        if key not in assets:
            raise SourceError(f"{place} has no asset {key!r}: it has {', '.join(sorted(assets))}")
        return key, assets[key]
    for role in _ROLES:
        found = [
            name for name, asset in assets.items() if role in (asset.get("roles") or []) or (name == role)
        ]
        if len(found) == 1:
            return found[0], assets[found[0]]
    if len(assets) == 1:
        return next(iter(assets.items()))
    raise SourceError(
        f"{place} has several assets: name one, as {place}#{sorted(assets)[0]} (of {', '.join(assets)})"
    )


def _resolve(place: str, href: str) -> str:
    if href.startswith("file://"):
        return unquote(urlsplit(href).path)
    if is_remote(href) or Path(href).is_absolute():
        return href
    if _HTTP.match(place):
        return urljoin(place, href)
    beside = Path(place).absolute().parent / href
    # An href is a URI reference, but many programs write plain file names, which may contain %20.
    return str(beside if beside.exists() else Path(place).absolute().parent / unquote(href))


def _credit(document: dict[str, Any], asset: dict[str, Any]) -> str:
    properties = document.get("properties") or {}
    providers = asset.get("providers") or properties.get("providers") or []
    names = {
        role: [str(one["name"]) for one in providers if role in (one.get("roles") or []) and one.get("name")]
        for role in ("producer", "licensor")
    }
    found = names["producer"] + names["licensor"] or [
        str(one["name"]) for one in providers if one.get("name")
    ]
    return ", ".join(dict.fromkeys(found)) or str(properties.get("attribution") or "")


def _date(properties: dict[str, Any]) -> str:
    if properties.get("datetime"):
        return str(properties["datetime"])[:10]
    ends = [str(properties.get(name) or "")[:10] for name in ("start_datetime", "end_datetime")]
    return "/".join(dict.fromkeys(filter(None, ends)))
