"""`recae ingest` where nobody watches: one bad file keeps it from no other, an hour may be empty, and a log file tells of it."""

import gzip
import json
from types import SimpleNamespace

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from recae import progress
from recae.cli import cli
from recae.data import readers
from recae.data.eventlog import EventLog
from recae.data.eventlog import ingest as ingesting
from recae.data.eventlog.intake import unreadable_share
from recae.errors import LastingLogError
from tests.cli.conftest import run, run_json
from tests.cli.logfiles import CSV, HEADER, OBJECTS, ROWS, stored, written

# ------------------------------------------------------------------ files that cannot be read


def truncated(path):
    """A gzip file of two transactions and more, without its end."""
    rows = "".join(f"u{n},i{n},{n}\n" for n in range(140_000))
    path.write_bytes(gzip.compress(f"{HEADER}\n{rows}".encode(), compresslevel=1)[:-20])
    return path


def of_folder(folder):
    """A file of no bytes, first in its folder, a truncated one and a good one after them."""
    folder.mkdir()
    (folder / "1.csv").touch()
    truncated(folder / "2.csv.gz")
    written(folder / "3.csv")


def test_files_that_cannot_be_read_keep_nobody_from_the_others_and_are_named_at_the_end(log, tmp_path):
    of_folder(tmp_path / "day")
    written(tmp_path / "more.csv")

    said = run("ingest", "nowhere.csv", "day", "more.csv", code=1)

    first, second, third = said.splitlines()[-3:]
    assert first.startswith("Error: there is no file or folder nowhere.csv")
    assert second == "Error: day/1.csv is empty; expected a header line with column names"
    assert third.startswith("Error: day/2.csv.gz cannot be read: ")
    assert said.count("Error: ") == 3
    assert "2 files could not be read" in said
    assert stored(log)[-3:] == ROWS

    tried_again = run("ingest", "day", "more.csv", code=1)
    assert "1 files were ingested before and have not changed; 2 files could not be read" in tried_again
    (tmp_path / "day" / "1.csv").write_text(f"{HEADER}\nnew,a,1\n")
    (tmp_path / "day" / "2.csv.gz").unlink()
    assert run_json("ingest", "day")["accepted"] == 1


def test_what_was_read_is_counted_although_another_file_failed(log, tmp_path):
    of_folder(tmp_path / "day")
    (tmp_path / "day" / "3.csv").write_text(CSV + ",x,4\n")

    done = CliRunner().invoke(cli, ["ingest", "day", "--json"])

    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [reason.partition(" ")[0] for reason in found["failed"]] == ["day/1.csv", "day/2.csv.gz"]
    (source,) = found["sources"]
    assert source["failed_files"] == ["day/1.csv", "day/2.csv.gz"]
    assert found["accepted"] == log.count() > ingesting.CHUNK_ROWS
    assert (found["read"], found["bad"]) == (log.count() + 1, 1)
    assert unreadable_share(log.database, 0) == pytest.approx(1 / found["read"])


def test_events_of_a_source_that_was_given_up_are_counted_and_the_next_one_is_read(log, tmp_path):
    (tmp_path / "bad.csv").write_text(f"{HEADER}\nu,i,1\n,x,2\n")
    written(tmp_path / "good.csv")

    done = CliRunner().invoke(cli, ["ingest", "bad.csv", "good.csv"])

    assert done.exit_code == 1
    assert done.stdout == "4 new events, 0 known already, 1 bad rows; the log holds 4\n"
    assert done.stderr.splitlines()[-1].startswith("Error: 1 of 2 rows of bad.csv are bad")
    assert unreadable_share(log.database, 0) == 0.0, "it reads all of it once it is mended"


def test_a_file_without_the_columns_is_named_with_those_before_it(log, tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "1.csv").touch()
    (tmp_path / "day" / "2.csv").write_text("a,b\n1,2\n")
    written(tmp_path / "more.csv")

    said = run("ingest", "day", "more.csv", code=1).splitlines()

    assert [line.partition(" ")[2].partition(" ")[0] for line in said[-2:]] == ["day/1.csv", "day/2.csv"]
    assert stored(log) == ROWS


def test_files_that_were_moved_away_since_they_were_found_are_named(log, tmp_path, monkeypatch):
    written(tmp_path / "day" / "1.csv")
    written(tmp_path / "day" / "2.csv")
    found = readers.find

    def then_moved(*asked):
        answer = found(*asked)
        (tmp_path / "day" / "1.csv").unlink()
        return answer

    monkeypatch.setattr(readers, "find", then_moved)

    assert "Error: day/1.csv cannot be read: " in run("ingest", "day", code=1)
    assert stored(log) == ROWS


@pytest.mark.parametrize("header", ["user_id,item_id\nu,i\n", "user_id,timestamp\nu,1\n"])
def test_files_of_a_folder_with_unlike_columns_end_the_ingest_at_once(log, tmp_path, header):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "1.csv").touch()
    written(tmp_path / "day" / "2.csv")
    (tmp_path / "day" / "3.csv").write_text(header)
    written(tmp_path / "more.csv").write_text(CSV + "u4,d,40\n")

    said = run("ingest", "day", "more.csv", code=1).splitlines()

    assert said[-2].startswith("Error: day/1.csv is empty"), "what failed before is named too"
    assert said[-1].startswith("Error: day/3.csv has ")
    assert stored(log) == ROWS


def test_a_failure_of_the_log_ends_the_ingest_at_once(log, tmp_path, monkeypatch):
    (tmp_path / "1.csv").touch()
    written(tmp_path / "2.csv")
    written(tmp_path / "3.csv")
    tries = []

    def full(*_asked, **_options):
        tries.append(1)
        raise LastingLogError("the disk is full")

    monkeypatch.setattr(EventLog, "append_table", full)

    said = run("ingest", "1.csv", "2.csv", "3.csv", code=1).splitlines()

    assert said[-2].startswith("Error: 1.csv is empty")
    assert said[-1] == "Error: the disk is full"
    assert len(tries) == 1


def test_debug_shows_where_the_reading_failed(tmp_path):
    (tmp_path / "1.csv").touch()

    said = run("--debug", "ingest", "1.csv", code=1)

    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("Error: 1.csv is empty")


# ------------------------------------------------------------------ an hour without events


def test_a_log_without_rows_is_read_like_any_other(log, tmp_path):
    (tmp_path / "hour.csv").write_text(HEADER + "\n")
    pa.parquet.write_table(pa.Table.from_pylist(OBJECTS[:1]).slice(0, 0), tmp_path / "hour.parquet")

    done = CliRunner().invoke(cli, ["ingest", "-", "--format", "csv"], input=HEADER + "\n")

    assert done.exit_code == 0
    assert done.stdout == "0 new events, 0 known already, 0 bad rows; the log holds 0\n"
    assert "0 rows read" in done.stderr
    files = run_json("ingest", "hour.csv", "hour.parquet")
    assert (files["read"], len(files["sources"]), files["failed"]) == (0, 2, [])
    (tmp_path / "hour.csv").write_text(CSV)
    assert run_json("ingest", "hour.csv")["accepted"] == 3
    (tmp_path / "hour.csv").write_text("")
    assert "hour.csv is empty" in run("ingest", "hour.csv", code=1), "nothing says what it is"


def test_a_query_without_rows_is_no_error(log, tmp_path):
    asked = ["--sql", "SELECT 'u' AS user_id, 'i' AS item_id WHERE 1 = 0", "--database", "sqlite://"]

    assert run_json("ingest", *asked)["read"] == 0


def test_a_folder_without_files_is_no_error_and_one_without_logs_is(log, tmp_path):
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / ".half.csv").touch()
    fsspec.filesystem("memory").makedirs("/empty", exist_ok=True)

    done = CliRunner().invoke(cli, ["ingest", "drop", "memory://empty"])

    assert done.exit_code == 0
    assert done.stderr == "drop: no files yet\nmemory://empty: no files yet\n"
    assert done.stdout == "0 new events, 0 known already, 0 bad rows; the log holds 0\n"
    (tmp_path / "drop" / "clicks.log").write_text("whatever")
    assert "the folder drop holds no log" in run("ingest", "drop", code=1)


# ------------------------------------------------------------------ what is told without a terminal


def test_without_a_terminal_each_file_is_told_when_it_is_done(log, tmp_path):
    written(tmp_path / "day" / "1.csv")
    (tmp_path / "day" / "2.csv").write_text(CSV + ",x,4\n")

    said = CliRunner().invoke(cli, ["ingest", "day", "day/1.csv", "--max-bad-share", "0.5"]).stderr

    first, second, of_folder, _, alone = said.splitlines()
    assert first.startswith("day/1.csv: 3 rows read, 0 bad; ")
    assert second.startswith("day/2.csv: 4 rows read, 1 bad; ")
    assert of_folder.startswith("day: 7 rows read, 6 kept, 1 bad")
    assert alone.startswith("day/1.csv: 0 rows read, 0 kept, 0 bad"), "a file alone is told once"


def test_without_a_terminal_a_long_file_is_told_of_about_every_minute(log, tmp_path, monkeypatch):
    minutes = iter(range(10_000))
    monkeypatch.setattr(ingesting, "CHUNK_ROWS", 10)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: 25.0 * next(minutes)))
    rows = "".join(f"u,i{n},{n}\n" for n in range(95))
    (tmp_path / "log.csv").write_text(f"{HEADER}\n{rows}")

    said = CliRunner().invoke(cli, ["ingest", "log.csv"]).stderr.splitlines()

    # a look at the clock each 10 rows, 25 s apart: every third of them a minute is over
    assert said[:3] == [f"log.csv: {n} rows so far, 0 rows/s" for n in (30, 60, 90)]
    assert said[3].startswith("log.csv: 95 rows read")
    assert len(said) == 4


def test_in_a_terminal_the_bar_is_enough(log, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "has_terminal", lambda: True)
    written(tmp_path / "day" / "1.csv")

    assert "day/1.csv: " not in CliRunner().invoke(cli, ["ingest", "day"]).stderr
