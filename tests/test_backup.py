"""The page about backups is true: its commands copy a home and restore it into a new one, on SQLite and PostgreSQL."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recae.artifacts import ModelStore
from recae.data.eventlog import Event, EventLog
from tests import postgres
from tests.data.eventlog.conftest import postgres_server, postgres_url
from tests.tastes import ITEMS, USERS, fitted_ease

__all__ = ["postgres_server", "postgres_url"]  # fixtures

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "api" / "backup.md").read_text()
SCRIPTS = dict(re.findall(r"^```([\w-]+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
EVENTS = [Event(f"u{number % 3}", f"i{number}", timestamp=number) for number in range(20)]
RESTORED = "recae_restored"


@pytest.fixture(autouse=True)
def workplace(home, tmp_path, monkeypatch):
    """A folder with a home `.recae`, and `recae` on the path."""
    for program in ("flock", "sqlite3"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    command = tmp_path / "bin" / "recae"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m recae "$@"\n')
    command.chmod(0o755)
    programs = [str(command.parent), *([str(postgres.programs())] if postgres.programs() else [])]
    monkeypatch.setenv("PATH", os.pathsep.join([*programs, os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("RECAE_HOME")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill(url):
    """Events in the database and in the archive, a model in service, keys and settings."""
    home = Path(".recae")
    with EventLog(url, home / "events") as log:
        log.append(EVENTS)
        log.compact(10)
        log.append([Event("w", "new", timestamp=15)])  # in the write-ahead log
        store = ModelStore(home / "models")
        store.promote(store.save(fitted_ease(), ITEMS, users=USERS))
        (home / "keys.json").write_text("{}")
        Path("recae.toml").touch()
        return items(log)


def items(log):
    return [item for table in log.stream() for item in table.column("item_id").to_pylist()]


def typed(name, **replaced):
    """Run a block of the page, as a person types it."""
    script = SCRIPTS[name]
    for shown, actual in replaced.items():
        assert shown in script
        script = script.replace(shown, actual)
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_is_the_same(url, events):
    """What was restored answers, and goes on: it may archive and delete."""
    with EventLog(url, Path("restored/events"), create=False) as log:
        assert items(log) == events
        assert log.check_archive() == []
        assert log.compact(18) == 9
        assert log.delete_user("u1") == 7
    stored = ModelStore("restored/models").load()
    assert stored.items == ITEMS
    assert Path("restored/keys.json").is_file()


def test_a_home_with_sqlite_is_copied_and_restored():
    events = fill("sqlite:///.recae/events.db")

    typed("sqlite-backup")
    shutil.rmtree(".recae")
    shown = typed("sqlite-restore")

    assert "21 events in sqlite:///restored/events.db" in shown
    assert_is_the_same("sqlite:///restored/events.db", events)


def test_a_home_with_postgresql_is_copied_and_restored(postgres_url):
    events = fill(postgres_url)
    server, _, name = postgres_url.rpartition("/")
    shown_server = "postgresql://recae@db.example"

    typed("postgres-backup", **{f"{shown_server}/recae": f"{server}/{name}"})
    shutil.rmtree(".recae")
    shown = typed("postgres-restore", **{shown_server: server})

    assert re.search(rf"21 events in postgresql\S+/{RESTORED}, its archive is complete", shown)
    assert_is_the_same(f"{server}/{RESTORED}", events)


def test_a_copy_waits_for_whoever_moves_old_events():
    """The page's locks are those of recae: while one is held, its commands do not begin."""
    fill("sqlite:///.recae/events.db")
    holders = re.findall(r"[789]< \.recae/(\w+)", SCRIPTS["sqlite-backup"])
    assert holders == ["runs", "models", "events"]
    held = subprocess.run(
        ["flock", ".recae/events", sys.executable, "-c", TRY], capture_output=True, text=True, check=False
    )

    assert held.stdout.strip() == "held", held.stderr


TRY = """
from pathlib import Path
from recae.durable import locked
try:
    with locked(Path(".recae/events"), wait=False):
        print("free")
except BlockingIOError:
    print("held")
"""
