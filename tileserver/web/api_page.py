"""The page /docs: all addresses from the OpenAPI document, without scripts of another host."""

from __future__ import annotations

import html
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tileserver.web.documents import page

_METHODS = ("get", "post")


def add_api_page(app: FastAPI) -> None:
    """Add the page to an application whose routes are complete, or will be before its first request."""

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        """Return the page."""
        openapi = app.openapi()
        groups: dict[str, list[str]] = {}
        for path, operations in openapi["paths"].items():
            for method in _METHODS:
                if method in operations:
                    group = (operations[method].get("tags") or ["map"])[0]
                    groups.setdefault(group, []).append(_operation(method, path, operations[method]))
        body = "".join(
            f"<h2>{html.escape(name)}</h2>{''.join(sorted(entries))}" for name, entries in groups.items()
        )
        link = '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>'
        return page(request, f"{openapi['info']['title']}: addresses", link + body)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    """Return a route with its parameters, folded away."""
    rows = "".join(
        f"<tr><td><code>{html.escape(one['name'])}</code></td><td>{one['in']}</td>"
        f"<td>{html.escape(_kind(one.get('schema', {})))}</td>"
        f"<td>{html.escape(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", [])
    )
    table = (
        f"<table><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr>{rows}</table>" if rows else ""
    )
    text = html.escape((operation.get("description") or operation.get("summary", "")).split("\n")[0])
    return (
        f"<details><summary><code>{method.upper()} {html.escape(path)}</code></summary>"
        f"<p>{text}</p>{table}</details>"
    )


def _kind(schema: dict[str, Any]) -> str:
    """Return the type of a parameter in words."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        kinds = (_kind(one) for one in schema["anyOf"] if one.get("type") != "null")
        return " | ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        return f"{_kind(schema.get('items', {}))}, several times"
    return str(schema.get("type", ""))
