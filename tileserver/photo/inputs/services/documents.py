"""Capabilities as XML: fetched within bounds, and read without regard to namespaces, which services confuse."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from rasterio.crs import CRS
from rasterio.errors import CRSError

from tileserver.errors import SourceError
from tileserver.photo.inputs.services.address import without_secrets
from tileserver.photo.inputs.services.client import PoliteClient, ServiceFault

T = TypeVar("T")

# Those of a whole country have some tens of megabytes.
_MOST_BYTES: Final = 64 * 2**20
_MOST_NAMED: Final = 30
ASK_FOR_LOGIN: Final = (
    "name user and password in the environment, GDAL_HTTP_USERPWD=USER:PASSWORD, a token as GDAL_HTTP_BEARER=TOKEN, "
    "or other headers as GDAL_HTTP_HEADERS='NAME: VALUE'"
)
# What services write where nothing is asked for.
_NOTHING: Final = ("", "none", "no", "-", "n/a", "unknown", "not specified", "nothing")
_LONGEST_CREDIT: Final = 160


def fetch_document(client: PoliteClient, url: str, root_names: tuple[str, ...], what: str) -> ET.Element:
    """Return the capabilities at a URL.

    Args:
        client: asks for them.
        url: their address.
        root_names: names that the document may begin with.
        what: name of the kind of service, for messages.

    Raises:
        SourceError: the service does not answer, wants a password, or the answer is something else.
    """
    shown = without_secrets(url)
    try:
        reply = client.get(url, _MOST_BYTES)
    except ServiceFault as error:
        raise SourceError(f"the service does not answer: {error}. Check its address, or try later") from error
    if reply.status in (401, 403):
        raise SourceError(f"{shown} asks for a password ({reply.status}): {ASK_FOR_LOGIN}")
    if reply.status != 200:
        raise SourceError(
            f"{shown} answered {reply.status}: name the address of the {what}'s capabilities, as its page gives it"
        )
    try:
        root = ET.fromstring(reply.body)  # noqa: S314 - expat bounds what entities expand to
    except ET.ParseError as error:
        raise SourceError(_not_capabilities(shown, what, reply.content_type)) from error
    if name_of(root) in ("ServiceExceptionReport", "ExceptionReport"):
        raise SourceError(f"{shown} refuses: {exception_text(root)}")
    if name_of(root) not in root_names:
        raise SourceError(_not_capabilities(shown, what, name_of(root)))
    return root


def _not_capabilities(shown: str, what: str, found: str) -> str:
    return (
        f"{shown} is not a {what}: its answer is {found or 'empty'}, not capabilities. "
        "Name the address of the service, not that of a page about it"
    )


def exception_text(root: ET.Element) -> str:
    """Return the words of an OGC exception."""
    words = (" ".join((one.text or one.get("exceptionCode") or "").split()) for one in root.iter())
    return "; ".join(filter(None, words))[:300] or "it gives no reason"


def name_of(element: ET.Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def children(element: ET.Element | None, name: str) -> Iterator[ET.Element]:
    """Yield the children of this name."""
    if element is not None:
        yield from (child for child in element if name_of(child) == name)


def find(element: ET.Element | None, *path: str) -> ET.Element | None:
    """Return the first descendant along a path of names, or None."""
    for name in path:
        element = next(children(element, name), None)
    return element


def text(element: ET.Element | None, *path: str) -> str:
    """Return the text of the first descendant along a path; empty without one."""
    found = find(element, *path)
    return " ".join((found.text or "").split()) if found is not None else ""


def attribute(element: ET.Element | None, name: str) -> str:
    """Return an attribute's value without regard to its namespace; empty without one."""
    items = {} if element is None else element.attrib
    return next((value for key, value in items.items() if key.rpartition("}")[2] == name), "")


def crs_of(code: str) -> CRS | None:
    """Return the CRS that a service names, such as EPSG:3857 or a URN; None if it is unknown."""
    try:
        return CRS.from_user_input("EPSG:3857" if code.endswith(":900913") else code)
    except (CRSError, ValueError):
        return None


def choose(candidates: dict[str, T], wanted: str | None, where: str, key: str) -> tuple[str, T]:
    """Return the candidate of a name, or the only one.

    Raises:
        SourceError: there is none of this name, or none is named and there are several.
    """
    if wanted is None and len(candidates) == 1:
        return next(iter(candidates.items()))
    if wanted in candidates:
        return wanted, candidates[wanted]
    names = listed(candidates)
    if not candidates:
        raise SourceError(f"{where} has no {key} that can be shown")
    if wanted is None:
        raise SourceError(f"{where} has several: name one with ,{key}=NAME, of {names}")
    raise SourceError(f"{where} has no {key} {wanted!r}: it has {names}")


def listed(names: Iterable[str]) -> str:
    """Return some names as a list for a message."""
    known = list(names)
    more = len(known) - _MOST_NAMED
    return ", ".join(known[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def credit_and_terms(owner: str, constraints: str, fees: str) -> tuple[str, tuple[str, ...]]:
    """Return the credit line and the terms of use that a service states.

    Args:
        owner: who provides it.
        constraints: what the document says of access.
        fees: what it says of fees.
    """
    constraints, fees = ("" if one.strip().lower() in _NOTHING else one for one in (constraints, fees))
    parts = [owner] if owner else []
    # Access constraints are often the copyright line itself, and sometimes pages of law.
    if constraints and len(constraints) <= _LONGEST_CREDIT and constraints.lower() != owner.lower():
        parts = [constraints] if owner.lower() in constraints.lower() else [*parts, constraints]
    return "; ".join(parts), tuple(filter(None, (constraints, fees)))
