"""Errors as their readers want them: JSON for programs, and a small page with a way back for browsers.

The page speaks the language of its reader; what exactly is wrong follows in the server's own words, as in the JSON.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

from tileserver.web.words import language_of, words

_PAGE: Final = """<!doctype html>
<html lang="{language}">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>{status} · {title} · orthosharp</title>
    <link rel="stylesheet" href="{root}/viewer/style.css">
  </head>
  <body class="error">
    <main>
      <h1>{title}</h1>
      <p>{says} <span lang="en">{detail}</span> ({status})</p>
      <p><a href="{root}/">{back}</a></p>
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
    asked = Headers(scope=scope)
    varied = {**(headers or {}), "Vary": "Accept, Accept-Language"}
    if "text/html" not in asked.get("accept", ""):
        return JSONResponse({"detail": detail}, status, varied)
    language = language_of(asked.get("accept-language", ""))
    said = words(language)
    page = _PAGE.format(
        language=language,
        status=status,
        title=html.escape(said[_title_of(status)]),
        says=html.escape(said["error_detail"]),
        detail=html.escape(detail),
        back=html.escape(said["error_back"]),
        root=html.escape(str(scope.get("root_path", "")), quote=True),
    )
    return HTMLResponse(page, status, varied | {"Content-Language": language})


def _title_of(status: int) -> str:
    """Return the key of what an error is called."""
    if status in (404, 503):
        return f"error_{status}"
    return "error_500" if status >= 500 else "error_400"
