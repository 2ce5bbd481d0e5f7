"""Spans are made where OpenTelemetry is installed and asked for."""

import sys
from types import ModuleType

import pytest

from recae.api import create_app, tracing
from recae.config import Settings
from recae.errors import ConfigError


def test_a_request_goes_through_the_middleware_if_tracing_is_on(recommender, monkeypatch):
    seen = []

    class Middleware:
        def __init__(self, app):
            self.app = app

        def __call__(self, environ, start_response):
            seen.append(environ["PATH_INFO"])
            return self.app(environ, start_response)

    package = ModuleType(tracing.PACKAGE)
    package.OpenTelemetryMiddleware = Middleware
    parts = tracing.PACKAGE.split(".")
    for depth in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:depth]), ModuleType(parts[depth - 1]))
    monkeypatch.setitem(sys.modules, tracing.PACKAGE, package)

    create_app(Settings(), recommender).test_client().get("/health/live")
    assert seen == []
    create_app(Settings(tracing=True), recommender).test_client().get("/health/live")
    assert seen == ["/health/live"]


def test_tracing_without_the_package_says_what_to_install(recommender, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match="install opentelemetry-instrumentation-wsgi"):
        create_app(Settings(tracing=True), recommender)
