"""Where the spans of titiler's hook go: OpenTelemetry's own exporter, as its own environment variables say."""

from __future__ import annotations

import os

from tileserver.errors import SettingsError


def export_spans() -> None:
    """Send the spans of this process by OTLP over HTTP, in batches, in the background.

    Raises:
        SettingsError: the packages of the extra `telemetry` are missing or too old.
    """
    try:
        # Versions that the server still runs with have none.
        import titiler.core.telemetry  # noqa: F401
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"--telemetry needs packages that are not installed, or newer ones ({error.name}): "
            "pip install 'orthosharp[telemetry]'"
        ) from error
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "orthosharp"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
