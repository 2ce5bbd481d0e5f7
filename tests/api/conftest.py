"""A client of an application that serves the two tastes, with limits low enough to reach."""

import pytest

from recae.api import create_app
from recae.config import Settings
from tests.data.eventlog.conftest import postgres_server, postgres_url, sqlite_url, url
from tests.tastes import two_tastes

__all__ = ["postgres_server", "postgres_url", "sqlite_url", "url"]  # fixtures

LIMITS = {"max_n": 5, "max_history": 4, "max_body_bytes": 2_000}


@pytest.fixture(scope="session")
def recommender():
    return two_tastes()


@pytest.fixture
def app(recommender):
    return create_app(Settings(**LIMITS), recommender)


@pytest.fixture
def client(app):
    return app.test_client()
