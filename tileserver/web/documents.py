"""JSON documents that people may look at, too: as a plain page, without scripts and without another host."""

from __future__ import annotations

import html
from typing import Annotated, Any, Final, Literal

from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tileserver.web.accept import preferred
from tileserver.web.forwarded import base_url

JSON: Final = "application/json"
HTML: Final = "text/html"
# Responses that a document may have, for the OpenAPI document.
DOCUMENT: Final[dict[str, Any]] = {
    "response_class": JSONResponse,
    "responses": {200: {"content": {JSON: {}, HTML: {}}}},
}
DocumentFormat = Annotated[
    Literal["json", "html"] | None, Query(description="JSON, or a page; as Accept says if it is not given.")
]


def wants_html(request: Request, form: str | None, *, default: str = JSON) -> bool:
    """Return whether a document is wanted as a page: by the parameter `f`, or else by Accept."""
    if form:
        return form == "html"
    offered = [default, HTML if default == JSON else JSON]
    return preferred(request.headers.get("accept", ""), offered) == HTML


def document(
    request: Request, form: str | None, title: str, content: Any, media_type: str = JSON
) -> Response:
    """Return a document as JSON or as a page.

    Args:
        request: the request.
        form: its parameter `f`.
        title: of the page.
        content: what JSON can hold.
        media_type: of the JSON.
    """
    vary = {"Vary": "Accept"}
    if wants_html(request, form):
        return page(request, title, _value(content), vary)
    return JSONResponse(content, headers=vary, media_type=media_type)


def page(request: Request, title: str, body: str, headers: dict[str, str] | None = None) -> Response:
    """Return a plain page.

    Args:
        request: the request.
        title: its title as text.
        body: its content as HTML.
        headers: of the response.
    """
    root = html.escape(base_url(request))
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width">'
        f'<link rel="stylesheet" href="{root}/viewer/document.css"></head>'
        f'<body><p><a href="{root}/">Map</a> · <a href="{root}/collections?f=html">Layers</a> · '
        f'<a href="{root}/docs">API</a></p><h1>{html.escape(title)}</h1>{body}</body></html>'
    )
    return HTMLResponse(text, headers=headers)


def _value(value: Any) -> str:
    """Return a value as HTML: objects and lists as lists, addresses as links."""
    if isinstance(value, dict):
        return _list("dl", [f"<dt>{_text(name)}</dt><dd>{_value(one)}</dd>" for name, one in value.items()])
    return _items(value) if isinstance(value, list) else _text(value)


def _items(values: list[Any]) -> str:
    if not any(isinstance(value, (dict, list)) for value in values):
        return ", ".join(map(_text, values))
    return _list("ol", [f"<li>{_value(value)}</li>" for value in values])


def _list(tag: str, items: list[str]) -> str:
    return f"<{tag}>{''.join(items)}</{tag}>"


def _text(value: Any) -> str:
    text = html.escape(str(value))
    # A template is no address.
    is_address = str(value).startswith(("http://", "https://")) and "{" not in str(value)
    return f'<a href="{text}">{text}</a>' if is_address else text
