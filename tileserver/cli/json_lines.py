"""Lines of the log as JSON."""

from __future__ import annotations

import logging
from typing import Any, Final

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

_ACCESS: Final = "uvicorn.access"
# The arguments of uvicorn's messages about requests.
_ACCESS_FIELDS: Final = ("client", "method", "path", "http_version", "status")


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
