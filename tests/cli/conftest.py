"""Commands over an event log, on SQLite and on a real PostgreSQL server."""

import json

import pytest
from click.testing import CliRunner

from recae.cli import cli
from recae.config import load_settings
from recae.data.eventlog import EventLog
from tests.data.eventlog.conftest import postgres_server, postgres_url, sqlite_url, url

__all__ = ["postgres_server", "postgres_url", "sqlite_url", "url"]  # fixtures


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def database(url, monkeypatch):
    """The settings name this database."""
    monkeypatch.setenv("RECAE_EVENTS", url)
    return url


@pytest.fixture
def log(home):
    """The log that the commands use."""
    with EventLog.open(load_settings()) as opened:
        yield opened


def run(*arguments, code=0, stdin=None):
    """Standard output of a command that ends with ``code``; for an error, what it wrote to stderr."""
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def run_json(*arguments, **options):
    return json.loads(run(*arguments, "--json", **options))
