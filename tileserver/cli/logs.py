"""What `orthosharp serve` writes while it runs: lines for people, or one JSON object per line.

A line of a request ends with the request's id, or has it as `request_id`.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Literal

import click
from asgi_correlation_id import CorrelationIdFilter
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

# What is said at the start and at reloads, which is no fault and so not a warning.
_start: Final = logging.getLogger("orthosharp.start")
_ACCESS: Final = "uvicorn.access"
# The arguments of uvicorn's messages about requests.
_ACCESS_FIELDS: Final = ("client", "method", "path", "http_version", "status")


class TextLines(logging.Formatter):
    """`WARNING orthosharp: message [request id]`."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in logging
        """Return the line, before a traceback."""
        line, request_id = super().formatMessage(record), getattr(record, "correlation_id", None)
        return f"{line} [{request_id}]" if request_id else line


class JsonLines(JsonFormatter):
    """One JSON object: time (ISO 8601, UTC), level, logger, message, and where there are any request_id and exc_info.

    Lines of the access log also have client, method, path, http_version and status.
    """

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
            reserved_attrs=[*RESERVED_ATTRS, "correlation_id", "color_message"],
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Add the request's id, and the parts of a line of the access log."""
        super().add_fields(log_data, record, message_dict)
        if request_id := getattr(record, "correlation_id", None):
            log_data["request_id"] = request_id
        if record.name == _ACCESS and isinstance(record.args, tuple):
            log_data.update(zip(_ACCESS_FIELDS, record.args, strict=False))


class LogHandler(logging.StreamHandler[Any]):
    """The one handler of the process; writes to stderr."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(TextLines())
        self.addFilter(CorrelationIdFilter())


def set_up_logs() -> None:
    """Write warnings and errors as text, until the settings are known."""
    logging.basicConfig(handlers=[LogHandler()], level=logging.WARNING)
    # rasterio logs each of GDAL's errors as well as raising it; the server reports it once, with the tile's address.
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)


def use_format(log_format: Literal["text", "json"]) -> None:
    """Write in this format from now on."""
    if log_format == "json":
        for handler in _handlers():
            handler.setFormatter(JsonLines())
        _start.setLevel(logging.INFO)
        logging.captureWarnings(capture=True)


def in_json() -> bool:
    """Return whether lines are JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in _handlers())


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


def say_refusal(reason: Exception) -> None:
    """Say why the server cannot start, where lines are JSON."""
    _start.critical("%s", reason)


def _handlers() -> list[LogHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LogHandler)]
