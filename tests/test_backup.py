"""The page about backups is true: its commands copy a home and restore it into a new one, on SQLite and PostgreSQL."""

import os
import re
import shutil
import sqlite3
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
BACKUPS = ["sqlite-backup", "postgres-backup"]
DUMPS = "#!/bin/sh\nfor word; do case $word in --file=*) echo dumped > ${word#--file=};; esac; done\n"
FAILS = "#!/bin/sh\necho it broke >&2\nexit 1\n"


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


def run(name, **replaced):
    """A block of the page, as a person types it or a clock starts it: in a shell that goes on after what fails."""
    script = SCRIPTS[name]
    for shown, actual in replaced.items():
        assert shown in script
        script = script.replace(shown, actual)
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)


def typed(name, **replaced):
    """What a block says that has to end well."""
    done = run(name, **replaced)
    assert done.returncode == 0, f"{SCRIPTS[name]}\n{done.stdout}\n{done.stderr}"
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
    for name in BACKUPS:
        assert re.findall(r"[789]< \.recae/(\w+)", SCRIPTS[name]) == ["runs", "models", "events"]
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


def program(name, text):
    """Put a program before the real one of that name."""
    path = Path("bin") / name
    path.write_text(text)
    path.chmod(0o755)


def small_home(night=1):
    """Files where those of a home are: the commands look no further. A database of PostgreSQL is made to answer."""
    for folder in ("events", "models", "runs"):
        Path(".recae", folder).mkdir(parents=True, exist_ok=True)
        Path(".recae", folder, f"of-night-{night}").touch()
    connection = sqlite3.connect(".recae/events.db")
    connection.execute(f"CREATE TABLE night_{night} (event)")
    connection.close()
    program("pg_dump", DUMPS)


def content(folder):
    """Each file below a folder, with its bytes."""
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("block", BACKUPS)
def test_keys_and_settings_are_copied_where_there_are_any(block):
    small_home()
    database = {"sqlite-backup": "events.db", "postgres-backup": "events.dump"}[block]
    folders = ["events", "models", "runs"]

    typed(block)
    assert sorted(path.name for path in Path("backup").iterdir()) == sorted([database, *folders])

    Path(".recae/keys.json").write_text("{}")
    Path("recae.toml").touch()
    typed(block, **{"to=backup": "to=another"})
    both = ["keys.json", "recae.toml"]
    assert sorted(path.name for path in Path("another").iterdir()) == sorted([database, *folders, *both])


@pytest.mark.parametrize("block", BACKUPS)
def test_a_second_night_under_the_same_name_fails_and_the_first_stays_as_it_was(block):
    small_home()
    typed(block)
    first = content("backup")
    small_home(night=2)

    done = run(block)

    assert done.returncode != 0
    assert "backup is there already" in done.stderr
    assert content("backup") == first
    assert not list(Path().glob("*.partial*"))


@pytest.mark.parametrize(
    ("block", "broken"),
    [
        *[(block, step) for block in BACKUPS for step in ("mkdir", "flock", "cp", "sync", "mv")],
        ("sqlite-backup", "sqlite3"),
        ("postgres-backup", "pg_dump"),
    ],
)
@pytest.mark.parametrize("ending", ["", " || exit 7"])
def test_a_step_that_fails_leaves_no_backup_and_says_so(block, broken, ending):
    small_home()
    program(broken, FAILS)

    done = run(block, **({"<<'END'": f"<<'END'{ending}"} if ending else {}))

    assert done.returncode == (7 if ending else 1)
    assert "it broke" in done.stderr
    assert not list(Path().glob("backup*"))


@pytest.mark.parametrize("content_of_it", [None, b""])
def test_a_database_that_is_not_there_is_no_backup_and_none_is_made(content_of_it):
    Path(".recae").mkdir()
    if content_of_it is not None:
        Path(".recae/events.db").write_bytes(content_of_it)

    done = run("sqlite-backup")

    assert done.returncode != 0
    assert "no event log in .recae/events.db" in done.stderr
    assert not list(Path().glob("backup*"))
    assert content(".recae") == ({} if content_of_it is None else {".recae/events.db": b""})


def test_a_folder_without_a_home_is_no_backup_of_one():
    program("pg_dump", DUMPS)

    done = run("postgres-backup")

    assert done.returncode != 0
    assert "no home folder .recae" in done.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["bin"]


@pytest.mark.parametrize("block", BACKUPS)
def test_what_a_killed_backup_left_is_not_in_the_next(block):
    small_home()
    Path("backup.partial/events").mkdir(parents=True)
    Path("backup.partial/events/of-night-0").touch()

    typed(block)

    assert [path.name for path in Path("backup/events").iterdir()] == ["of-night-1"]
    assert not Path("backup.partial").exists()


@pytest.mark.parametrize("block", ["sqlite-restore", "postgres-restore"])
@pytest.mark.parametrize("broken", ["mkdir", "cp", "recae"])
def test_a_restore_that_fails_says_so(block, broken):
    Path("backup").mkdir()
    for name, does in {"createdb": "exit 0", "pg_restore": "exit 0", "recae": "exit 0"}.items():
        program(name, f"#!/bin/sh\n{does}\n")
    program(broken, FAILS)

    assert run(block).returncode != 0


@pytest.mark.parametrize("block", ["sqlite-restore", "postgres-restore"])
def test_nothing_is_restored_over_what_is_there(block):
    Path("backup").mkdir()
    Path("backup/new").touch()
    Path("restored").mkdir()
    for name in ("createdb", "pg_restore", "recae"):
        program(name, f"#!/bin/sh\ntouch {name}-ran\n")

    assert run(block).returncode != 0
    assert not list(Path("restored").iterdir())
    assert not list(Path().glob("*-ran"))
