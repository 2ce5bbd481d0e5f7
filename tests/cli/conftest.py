"""Commands in a folder of their own: over an event log, on SQLite and on a real PostgreSQL server, and over stored models."""

import json

import pytest
from click.testing import CliRunner

from recae.artifacts import ModelStore
from recae.cli import cli
from recae.config import load_settings
from recae.data.eventlog import EventLog
from tests.data.eventlog.conftest import postgres_server, postgres_url, sqlite_url, url
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

__all__ = ["postgres_server", "postgres_url", "sqlite_url", "url"]  # fixtures


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("RECAE_THREADS", "1")
    monkeypatch.setenv("RECAE_DATA", str(tmp_path))  # evaluate sets it; this undoes that
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(home):
    return ModelStore(home / "models")


@pytest.fixture
def version(store):
    """The two tastes in service."""
    version = store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE)
    store.promote(version)
    return version


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


def one_line(text):
    """The text, if it is an error as the command line tells them."""
    assert text.startswith("Error: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text
