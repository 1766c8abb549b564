"""What `orthosharp serve` writes while it runs: lines for people, or one JSON object per line.

A line of a request ends with the request's id, or has it as `request_id`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any, Final, Literal

import click

from sr_model.errors import SrModelError
from tileserver.cli.exits import REFUSED
from tileserver.errors import StartError

# What is said at the start and at reloads, which is no fault and so not a warning.
_start: Final = logging.getLogger("orthosharp.start")


class TextLines(logging.Formatter):
    """`WARNING orthosharp: message [request id]`."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in logging
        """Return the line, before a traceback."""
        line, request_id = super().formatMessage(record), getattr(record, "correlation_id", None)
        return f"{line} [{request_id}]" if request_id else line


class RequestIds(logging.Filter):
    """Adds the id of the request that a line is about. There are requests once the library of their ids is loaded."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass all lines."""
        if context := getattr(sys.modules.get("asgi_correlation_id"), "correlation_id", None):
            record.correlation_id = context.get()
        return True


class LogHandler(logging.StreamHandler[Any]):
    """The one handler of the process; writes to stderr.

    Attributes:
        is_json: whether lines are JSON.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_json = False
        self.setFormatter(TextLines())
        self.addFilter(RequestIds())


def set_up_logs() -> None:
    """Write warnings and errors as text, until the settings are known."""
    logging.basicConfig(handlers=[LogHandler()], level=logging.WARNING)
    # rasterio logs each of GDAL's errors as well as raising it; the server reports it once, with the tile's address.
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)


def use_format(log_format: Literal["text", "json"]) -> None:
    """Write in this format from now on."""
    if log_format == "json":
        from tileserver.cli.json_lines import JsonLines

        for handler in _handlers():
            handler.setFormatter(JsonLines())
            handler.is_json = True
        _start.setLevel(logging.INFO)
        logging.captureWarnings(capture=True)


def in_json() -> bool:
    """Return whether lines are JSON."""
    return any(handler.is_json for handler in _handlers())


def say(text: str, kind: Literal["", "note", "warning"] = "", **fields: Any) -> None:
    """Say something that is no answer to a request: a line on stderr, or a record where lines are JSON.

    Args:
        text: what to say.
        kind: prefix of the line; a warning is a record of that level.
        fields: further members of the JSON object.
    """
    if in_json():
        _start.log(logging.WARNING if kind == "warning" else logging.INFO, "%s", text, extra=fields)
    else:
        click.echo(f"{kind}: {text}" if kind else text, err=True)


@contextlib.contextmanager
def refusing_as_lines() -> Iterator[None]:
    """Where lines are JSON, say in one why the server cannot start, and exit; otherwise let the error pass."""
    try:
        yield
    except (StartError, SrModelError) as error:
        if not in_json():
            raise
        _start.critical("%s", error)
        sys.exit(REFUSED)


def _handlers() -> list[LogHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LogHandler)]
