"""What WMS and WMTS by key-value pairs have in common: parameters, exceptions in XML, and their place at the root."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from sr_model import SrModelError
from tileserver.errors import HTTP_STATUS, BadParameterError, OutsideError, OverloadedError, TileServerError

# Longer than any query that makes sense.
_MAX_QUERY_BYTES: Final = 8192


class OgcError(BadParameterError):
    """A request that a WMS or WMTS has to refuse with an exception code of its standard.

    Attributes:
        code: such as InvalidParameterValue.
        locator: name of the parameter.
    """

    def __init__(self, code: str, message: str, locator: str = "") -> None:
        super().__init__(message)
        self.code, self.locator = code, locator


class Parameters:
    """The key-value pairs of a request, whose names have no case (OGC 06-121r9, section 11.5.2)."""

    def __init__(self, request: Request) -> None:
        self._values = {name.lower(): value for name, value in request.query_params.items()}

    def get(self, name: str, default: str = "") -> str:
        """Return a value; an empty one counts as absent."""
        return self._values.get(name.lower()) or default

    def required(self, name: str) -> str:
        """Return a value that must be there.

        Raises:
            OgcError: it is not.
        """
        value = self.get(name)
        if not value:
            raise OgcError("MissingParameterValue", f"{name} is missing", name)
        return value

    def chosen(self, name: str, known: Iterable[str], code: str = "InvalidParameterValue") -> str:
        """Return a required value, one of those that are known.

        Raises:
            OgcError: it is missing, or another one; with `code`.
        """
        value, names = self.required(name), list(known)
        if value not in names:
            raise OgcError(code, f"{name}={value!r} is not served: use one of {', '.join(names)}", name)
        return value

    def whole(self, name: str) -> int:
        """Return a required whole number of at most nine digits.

        Raises:
            OgcError: it is missing, or something else.
        """
        value = self.required(name)
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise OgcError("InvalidParameterValue", f"{name}={value!r} is not a whole number", name)
        return int(value)


def service_path(scope: Scope, local_path: str) -> str | None:
    """Return the path that answers a request to the root with SERVICE in its query; None for any other request."""
    if local_path not in ("/", "") or b"=" not in scope["query_string"]:
        return None
    pairs = parse_qsl(scope["query_string"][:_MAX_QUERY_BYTES].decode("latin-1"), keep_blank_values=True)
    service = next((value.upper() for name, value in pairs if name.upper() == "SERVICE"), None)
    if service is None:
        return None
    return "/wmts" if service == "WMTS" else "/wms"


async def answered(
    work: Awaitable[Response], report: Callable[[str, str, str], ET.Element], media_type: str = "text/xml"
) -> Response:
    """Return an answer, or what went wrong as the standard's XML.

    Args:
        work: makes the answer.
        report: makes the document, of code, message and locator.
        media_type: of that document.
    """
    try:
        return await work
    except (TileServerError, SrModelError) as error:
        status = next((code for kind, code in HTTP_STATUS if isinstance(error, kind)), 500)
        code, locator = "NoApplicableCode", ""
        if isinstance(error, OgcError):
            code, locator, status = error.code, error.locator, 400
        elif isinstance(error, OutsideError):
            code = "TileOutOfRange"
        elif isinstance(error, BadParameterError):
            code, status = "InvalidParameterValue", 400
        headers = {"Cache-Control": "no-store"}
        if isinstance(error, OverloadedError):
            headers["Retry-After"] = str(error.retry_after_s)
        return xml_response(report(code, str(error), locator), media_type, status, headers)


def xml_response(
    document: ET.Element, media_type: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return an XML document as a response."""
    body: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
    return Response(body, status, headers, media_type)
