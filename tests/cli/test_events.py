"""`recae events`: counts, complete exports, old events moved or deleted, users forgotten."""

import gzip
import json
import time

import psycopg
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from recae.cli import cli
from recae.data.eventlog import Event, export
from recae.data.interactions import Interactions
from recae.data.readers import read_events
from tests.cli.conftest import one_line, run, run_json

NOW = int(time.time())
DAY = 86_400
EVENTS = [
    Event("u1", "a", "view", 1.0, NOW - 800 * DAY),
    Event("u1", "b", "buy", 2.5, NOW - 100 * DAY, "e7"),
    Event("u2", 'c,"quoted"', "view", 1.0, NOW - 5, None, "r_1"),
]


@pytest.fixture
def filled(database, log):
    """Events of 800 days, of 100 days and of now."""
    log.append(EVENTS)
    return log


def contents(log):
    """All events without their numbers."""
    return [
        {name: value for name, value in row.items() if name != "sequence"}
        for table in log.stream()
        for row in table.to_pylist()
    ]


def test_stats_are_a_table_for_people_and_json_for_programs(filled):
    shown = run("events", "stats")
    found = run_json("events", "stats")

    assert "type buy, in the database" in shown
    assert "UTC" in shown
    assert (found["n_events"], found["n_users"], found["n_items"]) == (3, 2, 3)
    assert found["event_types"] == {"buy": 1, "view": 2}
    assert (found["first_timestamp"], found["last_timestamp"]) == (NOW - 800 * DAY, NOW - 5)


def test_stats_of_an_empty_log_say_how_to_fill_it(database, log):
    assert "run `recae ingest`" in run("events", "stats")
    assert run_json("events", "stats")["n_events"] == 0


FORMATS = ["parquet", "csv", "tsv", "jsonl", "csv.gz", "jsonl.zst", "tsv.xz", "ndjson.bz2"]


@pytest.mark.parametrize("ending", FORMATS)
def test_an_export_ingested_into_an_empty_log_is_the_same_log(ending, filled, monkeypatch, tmp_path):
    run("events", "compact", "--older-than", "90d")  # archived events are exported too
    events = contents(filled)
    path = tmp_path / f"out.{ending}"

    assert run("events", "export", path) == f"wrote 3 events to {path}\n"
    assert [file.name for file in tmp_path.glob("*out*")] == [path.name]

    monkeypatch.setenv("RECAE_HOME", str(tmp_path / "other"))
    monkeypatch.delenv("RECAE_EVENTS")
    assert run_json("ingest", path)["accepted"] == 3
    run("events", "export", "again.jsonl")
    lines = (tmp_path / "again.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {name: event[name] for name in json.loads(lines[0])} for event in events
    ]


def test_an_export_is_what_a_training_reads(filled):
    run("events", "export", "out.parquet")

    interactions = Interactions.from_events(read_events("out.parquet"))

    assert (interactions.n_users, interactions.n_items, len(interactions)) == (2, 3, 3)
    assert pyarrow.parquet.read_schema("out.parquet").names[:3] == ["user_id", "item_id", "timestamp"]


def test_an_empty_log_is_exported_as_an_empty_table(database, log, tmp_path):
    run("events", "export", "out.csv.gz")
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).count(b"\n") == 1


def test_an_export_that_fails_leaves_the_older_file_and_nothing_else(filled, tmp_path, monkeypatch):
    (tmp_path / "out.jsonl").write_text("older")

    def fails(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(export, "_write_objects", fails)
    assert "no space left" in run("events", "export", "out.jsonl", code=1)
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "older"


def test_a_line_break_in_an_id_is_refused_by_csv_and_kept_by_json_lines(log, tmp_path):
    log.append([{"user_id": "two\nlines", "item_id": "i"}])

    assert "holds a line break" in run("events", "export", "out.csv", code=1)
    run("events", "export", "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text())["user_id"] == "two\nlines"
    assert not (tmp_path / "out.csv").exists()


def test_an_unknown_ending_is_refused_with_those_that_are_known(log):
    assert ".parquet" in run("events", "export", "out.xlsx", code=1)
    assert "No such file or directory" in run("events", "export", "nowhere/out.csv", code=1)


def test_old_events_move_and_older_ones_are_deleted(filled, home):
    done = run_json("events", "compact", "--older-than", "90d", "--expire", "2y")

    assert done == {"expired": 1, "archived": 1}
    assert [event["item_id"] for event in contents(filled)] == ["b", 'c,"quoted"']
    assert run_json("events", "stats")["n_archived"] == 1
    assert len(list((home / "events").glob("*.parquet"))) == 1
    assert run_json("events", "compact", "--expire", "14w") == {"expired": 1, "archived": 0}


def test_ages_come_from_the_settings_unless_given(filled, monkeypatch):
    assert "compact_after_days" in run("events", "compact", code=2)

    monkeypatch.setenv("RECAE_RETENTION_DAYS", "700")
    assert run("events", "compact").startswith("deleted 1 events, moved 0 to ")
    monkeypatch.setenv("RECAE_COMPACT_AFTER_DAYS", "99.5")
    assert run_json("events", "compact", "--expire", "900d") == {"expired": 0, "archived": 1}


@pytest.mark.parametrize("age", ["90", "d", "-3d", "0d", "1m"])
def test_what_is_no_age_is_refused_with_examples(age):
    assert "write 36h, 90d, 12w or 2y" in run("events", "compact", "--older-than", age, code=2)


def test_a_deleted_user_is_gone_from_the_database_and_the_archive(filled):
    run("events", "compact", "--older-than", "90d")

    assert run("events", "delete-user", "u1") == "deleted 2 events of user u1\n"
    assert [event["user_id"] for event in contents(filled)] == ["u2"]
    assert run_json("events", "delete-user", "u1") == {"user_id": "u1", "deleted": 0}


def test_commands_that_only_read_or_remove_make_no_log_and_say_which_setting_names_one(home, tmp_path):
    for command in (
        ["events", "stats"],
        ["events", "export", "out.csv"],
        ["events", "compact", "--older-than", "1d"],
        ["events", "delete-user", "u1"],
        ["items", "list"],
        ["items", "show", "i"],
        ["experiment", "report", "e"],
    ):
        said = one_line(run(*command, code=1))
        assert f"there is no event log in sqlite:///{home / 'events.db'}; `recae ingest` makes one" in said
        assert "RECAE_EVENTS" in said
    assert not home.exists()
    assert not (tmp_path / "out.csv").exists()


def test_in_an_empty_postgresql_database_they_make_no_tables(postgres_url, monkeypatch):
    monkeypatch.setenv("RECAE_EVENTS", postgres_url)

    assert "there is no event log in postgresql" in run("events", "stats", code=1)

    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() == (0,)


def test_an_operator_without_the_setting_of_the_database_changes_nothing(filled, home, monkeypatch):
    run("events", "compact", "--older-than", "90d")
    events, files = contents(filled), sorted((home / "events").iterdir())
    monkeypatch.setenv("RECAE_EVENTS", f"sqlite:///{home / 'another.db'}")
    assert "there is no event log" in run("events", "delete-user", "u1", code=1)
    assert not (home / "another.db").exists()

    (home / "new.csv").write_text("user_id,item_id\nu9,i\n")
    run("ingest", home / "new.csv")  # a new database, as after a move
    said = one_line(run("events", "compact", "--older-than", "1d", code=1))

    assert "is the archive of another event log" in said
    assert sorted((home / "events").iterdir()) == files
    assert contents(filled) == events


def test_what_models_keep_of_a_user_is_said_only_of_a_user_with_events(log):
    log.append(EVENTS)

    some, none = (
        CliRunner().invoke(cli, ["events", "delete-user", user]).stderr for user in ("u1", "nobody")
    )

    for word in ("recae retrain", "recae train", "recae models prune", "backups"):
        assert word in some
    assert none == ""


def test_a_damaged_database_is_told_apart_from_one_that_is_away(log, home):
    log.append(EVENTS)
    log.close()
    for file in home.glob("events.db*"):
        file.unlink()
    (home / "events.db").write_bytes(b"garbage" * 1_000)

    assert "restore it from a backup" in one_line(run("events", "stats", code=1))
