"""`recae ingest`: every kind of source, each event once, stopped and killed processes go on."""

import json
import signal
import sqlite3

import fsspec
import pytest
from click.testing import CliRunner

from recae.cli import cli
from tests import processes
from tests.cli.conftest import run, run_json
from tests.cli.logfiles import CSV, HEADER, ROWS, stored, written

PATIENCE_S = 60


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.jsonl", "log.parquet"])
def test_every_format_brings_the_same_events_and_a_second_time_none(name, database, log, tmp_path):
    path = written(tmp_path / name)

    first, second = run_json("ingest", path), run_json("ingest", path, "--again")

    assert (first["accepted"], first["duplicates"], first["bad"]) == (3, 0, 0)
    assert (second["accepted"], second["duplicates"]) == (0, 3)
    assert stored(log) == ROWS


def test_folders_and_patterns_are_read_and_what_was_read_before_is_passed_over(log, tmp_path):
    for name in ("day/1.csv", "day/2.jsonl", "more/3.csv.gz", "more/notes.txt"):
        path = tmp_path / name
        written(path) if path.suffix != ".txt" else path.write_text("no log")

    done = run_json("ingest", "day", "more/*.gz")
    again = run_json("ingest", "day", "more")

    assert [(part["source"], part["read"], part["accepted"]) for part in done["sources"]] == [
        ("day", 6, 3),
        ("more/*.gz", 3, 0),
    ]
    assert [(part["passed_files"], part["read"]) for part in again["sources"]] == [(2, 0), (1, 0)]
    assert again["sources"][1]["skipped_files"] == ["more/notes.txt"]
    assert stored(log) == ROWS


def test_standard_input_is_read_in_the_format_that_is_named(log):
    assert run_json("ingest", "-", "--format", "csv", stdin=CSV)["accepted"] == 3
    assert stored(log) == ROWS
    assert "--format csv" in run("ingest", "-", code=1, stdin=CSV)
    assert "name it once" in run("ingest", "-", "-", code=2)


def test_a_url_is_read_through_fsspec(log):
    with fsspec.open("memory://bucket/logs/a.csv", "wt") as file:
        file.write(CSV)

    assert run_json("ingest", "memory://bucket/logs")["accepted"] == 3
    assert stored(log) == ROWS


def test_rows_of_another_database_are_ingested_with_their_columns_mapped(log, tmp_path):
    shop = tmp_path / "shop.db"
    with sqlite3.connect(shop) as connection:
        connection.execute("CREATE TABLE orders (who TEXT, item_id TEXT, timestamp INTEGER)")
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", ROWS)
    connection.close()
    sql = "SELECT who, item_id, timestamp FROM orders ORDER BY timestamp"
    asked = ["ingest", "--sql", sql, "--database", f"sqlite:///{shop}", "--column", "user_id=who"]

    assert run_json(*asked)["accepted"] == 3
    assert run_json(*asked)["duplicates"] == 3
    assert stored(log) == ROWS
    assert "need each other" in run("ingest", "--sql", sql, code=2)
    assert "no such table: nowhere" in run(
        "ingest", "--sql", "SELECT * FROM nowhere", "--database", f"sqlite:///{shop}", code=1
    )


def test_columns_are_mapped_or_left_out(log, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user_id,movie,value\nu,m,nothing\n")

    assert run_json("ingest", path, "--column", "item_id=movie", "--column", "value=")["accepted"] == 1
    assert log.history("u").events[0].item_id == "m"
    assert "no column wrong" in run("ingest", path, "--column", "wrong=x", code=1)
    assert "is no assignment" in run("ingest", path, "--column", "item_id", code=2)


def test_the_summary_tells_counts_rate_and_where_bad_rows_are(home, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(CSV + ",x,4\n,y,5\nu,z,soon\n")

    shown = run("ingest", path, "--max-bad-share", "0.5")
    assert shown == "3 new events, 0 known already, 3 bad rows; the log holds 3\n"

    (kept,) = (home / "quarantine").iterdir()
    assert kept.name.startswith("log.csv-")
    assert [json.loads(line)["reason"] for line in kept.read_text().splitlines()] == [
        "missing user_id",
        "missing user_id",
        "timestamp is neither epoch seconds nor ISO 8601",
    ]
    done = run_json("ingest", path, "--max-bad-share", "0.5", "--again", "--quarantine", "elsewhere")
    assert done["sources"][0]["reasons"]["missing user_id"] == 2
    assert done["sources"][0]["quarantine"].startswith("elsewhere/log.csv-")


def test_bad_rows_of_two_files_of_one_name_are_kept_apart(home, tmp_path):
    for folder in ("monday", "tuesday"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "log.csv").write_text(CSV + f",{folder},1\n")

    run("ingest", "monday/log.csv", "tuesday/log.csv", "--max-bad-share", "0.5")

    kept = [json.loads(path.read_text())["row"] for path in (home / "quarantine").iterdir()]
    assert sorted(kept) == [",monday,1", ",tuesday,1"]


def test_too_many_bad_rows_are_an_error_in_one_line(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(CSV + ",x,4\n")

    said = run("ingest", path, code=1)

    assert said.startswith("Error: 1 of 4 rows of ")
    assert said.count("\n") == 1


def test_wrong_usage_says_what_to_type(tmp_path):
    assert "name a SOURCE" in run("ingest", code=2)
    assert "there is no file or folder nowhere.csv" in run("ingest", "nowhere.csv", code=1)
    written(tmp_path / "log.csv")
    assert "there is no format 'docx'" in run("ingest", "log.csv", "--format", "docx", code=1)


# ------------------------------------------------------------------ stopped processes

N_ROWS = 250_000
N_BAD = N_ROWS // 1_000


@pytest.fixture(autouse=True)
def heard_signals():
    """Ctrl-C reaches the processes started here, even if this one was told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stopped_by(sent, path, log):
    """Start `recae ingest` in a process, and send it the signal once some but not all events are in the log."""
    return processes.stopped(processes.recae("ingest", path), sent, log.count)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_ingest_goes_on_where_it_was_and_the_log_is_as_if_it_never_stopped(
    sent, database, log, home, tmp_path
):
    path = tmp_path / "log.csv"
    rows = (f"u{n % 999 if n % 1_000 else ''},i{n},{n}" for n in range(N_ROWS))
    path.write_text("\n".join([HEADER, *(row.replace("u,", ",") for row in rows)]) + "\n")

    code, said = stopped_by(sent, path, log)
    before = log.count()

    assert 0 < before < N_ROWS - N_BAD
    if sent == signal.SIGINT:
        assert code == 130
        assert "the same command goes on from there" in said
        assert "Traceback" not in said
    else:
        assert code == -signal.SIGKILL

    done = run_json("ingest", path)

    assert done["accepted"] == N_ROWS - N_BAD - before
    assert done["duplicates"] == 0
    assert list(done["sources"][0]["resumed"]) == [str(path)]
    items = [item for table in log.stream() for item in table.column("item_id").to_pylist()]
    assert items == [f"i{n}" for n in range(N_ROWS) if n % 1_000]
    (kept,) = (home / "quarantine").iterdir()
    lines = [json.loads(line)["line"] for line in kept.read_text().splitlines()]
    assert lines == list(range(2, N_ROWS + 2, 1_000))


def test_of_a_file_that_is_being_written_the_command_tells_and_the_next_one_takes_the_rest(log, tmp_path):
    path = tmp_path / "live.csv"
    path.write_text(CSV.removesuffix("30\n") + "3")

    cut = run_json("ingest", path)
    nothing_came = CliRunner().invoke(cli, ["ingest", str(path)])
    path.write_text(CSV)
    whole = run_json("ingest", path)

    assert cut["sources"][0]["unfinished_files"] == [str(path)]
    assert (cut["accepted"], cut["bad"]) == (2, 0)
    assert "the last line of 1 file has no end yet and is left to the next ingest" in nothing_came.stderr
    assert "0 new events" in nothing_came.stdout
    assert whole["sources"][0]["unfinished_files"] == []
    assert (whole["accepted"], whole["duplicates"]) == (1, 2)
    assert stored(log) == ROWS


def test_what_is_piped_in_needs_no_end(log):
    assert run_json("ingest", "-", "--format", "csv", stdin=CSV.rstrip("\n"))["accepted"] == 3
