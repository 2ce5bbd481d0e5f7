"""OpenTelemetry spans of requests, where the operator has installed it and asks for it."""

import importlib

from flask import Flask

from recae.errors import ConfigError

PACKAGE = "opentelemetry.instrumentation.wsgi"


def register(app: Flask) -> None:
    """Put the WSGI middleware of OpenTelemetry around the application; its own OTEL_* variables say where spans go.

    Raises:
        ConfigError: if the package is not installed.
    """
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        raise ConfigError(
            "tracing is on and OpenTelemetry is not installed; install opentelemetry-instrumentation-wsgi and an "
            "exporter, or leave the setting out"
        ) from error
    app.wsgi_app = package.OpenTelemetryMiddleware(app.wsgi_app)  # type: ignore[method-assign] # as Flask documents it
