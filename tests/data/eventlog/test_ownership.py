"""An archive belongs to one log: no other database writes to it, or removes anything from it."""

import sqlite3
from contextlib import closing

import psycopg
import pyarrow.parquet as pq
import pytest

from recae.data.eventlog import Event, EventLog, compaction, partitions
from recae.data.eventlog.ingest import ingest
from recae.data.eventlog.ownership import OWNER
from recae.errors import LastingLogError
from tests.data.eventlog.conftest import NOW

EVENTS = [Event(f"u{number % 3}", f"i{number}", timestamp=number) for number in range(20)]
OPERATIONS = {
    "compact": lambda log: log.compact(10),
    "expire": lambda log: log.expire(10),
    "delete-user": lambda log: log.delete_user("u1"),
}


@pytest.fixture(autouse=True)
def small_partitions(monkeypatch):
    monkeypatch.setattr(compaction, "PARTITION_ROWS", 4)


@pytest.fixture
def archived(log):
    """A log with events in the database and in partitions."""
    log.append(EVENTS)
    log.compact(10)
    return log


def items(log):
    return [item for table in log.stream() for item in table.column("item_id").to_pylist()]


def contents(archive):
    return {path.name: path.read_bytes() for path in archive.iterdir()}


@pytest.fixture(params=["sqlite", "postgres"])
def another(request, archive, tmp_path):
    """An empty log in a database of its own, for which the settings name the same home folder."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'another.db'}"
    else:
        url = request.getfixturevalue("another_postgres_url")
    with EventLog(url, archive, clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
def another_postgres_url(postgres_server):
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS another")
        connection.execute("CREATE DATABASE another")
    return f"{postgres_server}/another"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_another_database_changes_nothing_in_the_archive(archived, archive, another, operation):
    another.append(EVENTS)
    before = contents(archive)

    with pytest.raises(LastingLogError, match=r"archive of another event log: its id is .* setting events"):
        OPERATIONS[operation](another)

    assert contents(archive) == before
    assert items(archived) == [event.item_id for event in EVENTS]
    assert items(another) == [event.item_id for event in EVENTS]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_another_database_leaves_an_archive_of_an_older_version_alone_too(
    archived, archive, another, operation
):
    as_older(archived, archive)
    before = contents(archive)

    with pytest.raises(LastingLogError, match=r"holds 3 partition\(s\) that .* does not know: '0000"):
        OPERATIONS[operation](another)

    assert contents(archive) == before


def as_older(log, archive):
    """Make database and archive what the version before ids has left."""
    for path in archive.glob("*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    (archive / OWNER).unlink()

    def forget(connection):
        for statement in (
            "DROP TABLE log_identity",
            "DROP TABLE replaced_partitions",
            "ALTER TABLE deleted_users DROP COLUMN last_sequence",
        ):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("UPDATE schema_version SET version = 3")

    log.database.write(forget)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_log_of_an_older_version_gets_an_id_and_takes_its_archive_over(archived, archive, url, operation):
    as_older(archived, archive)

    with EventLog(url, archive, clock=lambda: NOW) as upgraded:
        assert items(upgraded) == [event.item_id for event in EVENTS]
        OPERATIONS[operation](upgraded)
        upgraded.compact(15)

        gone = {"compact": set(), "expire": set(range(10)), "delete-user": set(range(1, 20, 3))}[operation]
        assert items(upgraded) == [f"i{number}" for number in range(20) if number not in gone]
        assert (archive / OWNER).read_text().strip()
        assert len(list(archive.glob("*.parquet"))) == upgraded.stats().n_partitions, (
            "replaced files are gone"
        )


def test_files_of_an_older_version_that_no_database_lists_stay_and_are_named(archived, archive, url):
    as_older(archived, archive)
    stray = archive / "000000000001-000000000004-00000000.parquet"
    pq.write_table(pq.read_table(next(archive.glob("*.parquet"))), stray)

    with EventLog(url, archive) as upgraded:
        with pytest.raises(LastingLogError, match=f"does not know: '{stray.name}'"):
            upgraded.compact(15)
        stray.rename(archive.parent / "elsewhere.parquet")
        assert upgraded.compact(15) == 5


def test_a_folder_without_the_partitions_that_the_database_lists_is_not_taken_over(archived, url, tmp_path):
    lacks = pytest.raises(LastingLogError, match="elsewhere lacks '0000")
    with EventLog(url, tmp_path / "elsewhere") as wrong_home, lacks:
        wrong_home.compact(15)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_partition_that_was_written_and_not_recorded_is_removed_by_the_next_run(log, archive, monkeypatch):
    log.append(EVENTS)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(partitions, "record", dies)
        with pytest.raises(KeyboardInterrupt):
            log.compact(10)
    assert len(list(archive.glob("*.parquet"))) == 1

    log.expire(0)

    assert list(archive.glob("*.parquet")) == []
    assert items(log) == [event.item_id for event in EVENTS]


def test_a_replaced_file_that_a_kill_left_is_removed_whatever_wrote_it(archived, archive, url, monkeypatch):
    as_older(archived, archive)
    with EventLog(url, archive, clock=lambda: NOW) as upgraded:
        real, calls = partitions.sweep, []

        def dies_after_the_commit(folder, names):
            calls.append(names)
            if len(calls) == 2:
                raise KeyboardInterrupt
            real(folder, names)

        with monkeypatch.context() as patched:
            patched.setattr(partitions, "sweep", dies_after_the_commit)
            with pytest.raises(KeyboardInterrupt):
                upgraded.delete_user("u1")
        assert "u1" in users(archive)

        upgraded.expire(0)

        assert "u1" not in users(archive)


def users(archive):
    return {user for path in archive.glob("*.parquet") for user in pq.read_table(path)["user_id"].to_pylist()}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_older_copy_of_the_database_removes_no_partition_with_events_it_does_not_know(
    log, archive, home, tmp_path
):
    log.append(EVENTS)
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(home / "events.db")) as connection:
        connection.execute(f"VACUUM INTO '{copy}'")
    log.append([Event("later", f"l{number}", timestamp=number) for number in range(3)])
    log.compact(10)
    before, all_items = contents(archive), sorted(items(log))

    older = pytest.raises(LastingLogError, match=r"holds 2 events that .* does not know: .* older copy")
    with EventLog(f"sqlite:///{copy}", archive) as restored, older:
        restored.compact(10)
    assert contents(archive) == before

    unknown = [archive / name for name in before if name.startswith(("000000000009", "000000000023"))]
    for path in unknown:  # as the message says
        path.rename(tmp_path / path.name)
    with EventLog(f"sqlite:///{copy}", archive, clock=lambda: NOW) as restored:
        for path in unknown:
            ingest(restored, tmp_path / path.name)
        restored.compact(10)
        assert sorted(items(restored)) == all_items


def test_checking_finds_missing_and_shortened_partitions_and_changes_nothing(archived, archive, another):
    assert archived.check_archive() == []
    first, second, _ = sorted(archive.glob("*.parquet"))
    pq.write_table(pq.read_table(first).slice(1), first)
    second.unlink()
    before = contents(archive)

    (shortened, missing) = archived.check_archive()

    assert "it holds 3 events, not 4" in shortened
    assert second.name in missing
    with pytest.raises(LastingLogError, match="archive of another event log"):
        another.check_archive()
    assert contents(archive) == before
