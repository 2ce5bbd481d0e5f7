"""Every test of the event log runs on SQLite and on a real PostgreSQL server."""

from itertools import count

import psycopg
import pytest

from recae.data.eventlog import EventLog
from tests import postgres

NOW = 1_700_000_000
NUMBERS = count()


@pytest.fixture(scope="session")
def postgres_server():
    if postgres.programs() is None:
        pytest.skip("PostgreSQL's programs are not installed (Debian's package: postgresql)")
    with postgres.server() as address:
        yield address


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database."""
    name = f"test_{next(NUMBERS)}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres_server}/{name}"


@pytest.fixture
def sqlite_url(home):
    return f"sqlite:///{home / 'events.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request):
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def archive(home):
    return home / "events"


@pytest.fixture
def log(url, archive):
    """An empty log for which it is always second ``NOW``."""
    with EventLog(url, archive, max_clock_skew_s=60, clock=lambda: NOW) as opened:
        yield opened
