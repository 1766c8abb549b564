"""Errors as their readers want them: JSON for programs, and a small page with a way back for browsers."""

from __future__ import annotations

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

_PAGE: Final = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>{title} · orthosharp</title>
    <link rel="stylesheet" href="{root}/viewer/style.css">
  </head>
  <body class="error">
    <main>
      <h1>{title}</h1>
      <p>{detail}</p>
      <p><a href="{root}/">Open the map</a></p>
    </main>
  </body>
</html>
"""


def problem(scope: Scope, detail: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a request that failed.

    Args:
        scope: of the request. Browsers ask for text/html when an address is opened, and not for tiles or data.
        detail: one line that ends with what to do about it.
        status: HTTP status.
        headers: more headers.
    """
    varied = {**(headers or {}), "Vary": "Accept"}
    if "text/html" not in Headers(scope=scope).get("accept", ""):
        return JSONResponse({"detail": detail}, status, varied)
    page = _PAGE.format(
        title=f"{status} {_phrase(status)}",
        detail=html.escape(detail),
        root=html.escape(str(scope.get("root_path", "")), quote=True),
    )
    return HTMLResponse(page, status, varied)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
