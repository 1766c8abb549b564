"""What a user calls a service by: `WMTS:URL,layer=...`, `WMS:URL,layer=...`, or an XYZ template."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tileserver.errors import SourceError

_KIND: Final = re.compile(r"(WMTS|WMS|XYZ):(.*)", re.IGNORECASE | re.DOTALL)
_TEMPLATE: Final = re.compile(r"https?://[^{]*\{.*", re.IGNORECASE | re.DOTALL)
_KEY: Final = re.compile(r",([A-Za-z_][\w.:-]*)=")
# Names of query parameters whose values are secrets: neither shown nor part of keys.
_SECRET: Final = re.compile(r"key|token|sig|pass|auth|secret|^tk$", re.IGNORECASE)
# Different names of one thing, as GDAL, WMTS and WMS have it.
_SYNONYMS: Final = {"layers": "layer", "styles": "style", "srs": "crs"}
EDITION: Final = "edition"


@dataclass(frozen=True)
class ServiceAddress:
    """A service as the user names it.

    Attributes:
        kind: `WMTS`, `WMS` or `XYZ`.
        url: its URL; of XYZ, the template.
        keys: what follows the URL, as `,key=value`; names in lower case.
    """

    kind: str
    url: str
    keys: dict[str, str]

    @property
    def host(self) -> str:
        """Host of the service, with the port if it has one."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        return without_secrets(self.url)

    @property
    def identity(self) -> str:
        """What of the address is part of keys."""
        return repr([self.kind, self.shown, sorted(self.keys.items())])


def service_address(source: str) -> ServiceAddress | None:
    """Return the service that a text names; None if it names something else.

    Raises:
        SourceError: its URL is not one of http or https.
    """
    found = _KIND.fullmatch(source)
    if found is None and not (_TEMPLATE.fullmatch(source) and re.search(r"\{(z|x|-?y|q)\}", source)):
        return None
    kind, rest = (found[1].upper(), found[2]) if found else ("XYZ", source)
    url, *pairs = _KEY.split(rest)
    keys = {
        _SYNONYMS.get(name.lower(), name.lower()): value
        for name, value in zip(pairs[::2], pairs[1::2], strict=True)
    }
    try:
        parts = urlsplit(url.strip())
        complete = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        complete = False
    if not complete:
        raise SourceError(
            f"{without_secrets(source)} is not the address of a service: write {kind}:https://..."
            + ("/{z}/{x}/{y}.png" if kind == "XYZ" else ",layer=NAME")
        )
    return ServiceAddress(kind, url.strip(), keys)


def without_secrets(url: str) -> str:
    """Return a URL without user name and password, and with `...` for the values of keys and tokens."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    query = re.sub(
        r"([^&=]+)=([^&]*)", lambda m: f"{m[1]}=..." if _SECRET.search(m[1]) else m[0], parts.query
    )
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))


def with_query(url: str, **parameters: str) -> str:
    """Return a URL with these parameters, in place of those of the same name in any case."""
    parts = urlsplit(url)
    names = {name.lower() for name in parameters}
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0].lower() not in names]
    return urlunsplit(parts._replace(query=urlencode([*kept, *parameters.items()], safe="/:,;")))


def query_of(url: str) -> dict[str, str]:
    """Return the query of a URL with names in lower case."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    return {_SYNONYMS.get(name.lower(), name.lower()): value for name, value in pairs}
