"""A client of an application that serves the two tastes, with limits low enough to reach."""

import pytest

from recae.api import create_app
from recae.artifacts import ModelStore
from recae.config import Settings
from tests.data.eventlog.conftest import postgres_server, postgres_url, sqlite_url, url
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease, two_tastes

__all__ = ["postgres_server", "postgres_url", "sqlite_url", "url"]  # fixtures

PLAIN_GET = b"GET /v1/users/1/recommendations HTTP/1.1\r\nHost: localhost\r\n\r\n"
LIMITS = {"max_n": 5, "max_history": 4, "max_body_bytes": 2_000}


@pytest.fixture(scope="session")
def recommender():
    return two_tastes()


@pytest.fixture
def app(recommender):
    return create_app(Settings(**LIMITS), recommender)


@pytest.fixture
def store(home):
    """A model store that has the two tastes in service."""
    store = ModelStore(home / "models")
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE))
    return store


@pytest.fixture
def client(app):
    return app.test_client()
