"""From files into the log: replays add nothing, an interrupted ingest goes on, bad rows are kept once."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from recae.data.eventlog import EventLog
from recae.data.eventlog import ingest as ingesting
from recae.data.eventlog.export import export
from recae.data.eventlog.ingest import ingest
from recae.data.eventlog.intake import unreadable_share
from recae.data.places import LocalFile, Query
from recae.errors import TooManyBadRowsError
from tests.data.eventlog.conftest import NOW


@pytest.fixture(autouse=True)
def small_transactions(monkeypatch):
    monkeypatch.setattr(ingesting, "CHUNK_ROWS", 10)


def written(path, n, *, first=0):
    lines = [f"u{number % 7},i{number},{number}" for number in range(first, first + n)]
    text = "\n".join(["user_id,item_id,timestamp", *lines]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def items(log):
    return [item for table in log.stream() for item in table.column("item_id").to_pylist()]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_file_is_ingested_once_however_often_it_is_named(log, tmp_path, name):
    path = written(tmp_path / name, 35)

    first, second, third = ingest(log, path), ingest(log, path), ingest(log, path, again=True)

    assert (first.accepted, first.duplicates) == (35, 0)
    assert (second.accepted, second.duplicates, second.passed) == (0, 0, 1)
    assert (third.accepted, third.duplicates, third.passed) == (0, 35, 0)
    assert items(log) == [f"i{number}" for number in range(35)]
    assert "35 rows read, 35 kept, 0 bad; 35 new events, 0 known already" in str(first)
    assert "1 files were ingested before" in str(second)


def test_a_file_that_has_grown_is_read_anew_and_only_its_new_rows_are_added(log, tmp_path):
    path = written(tmp_path / "a.csv", 12)
    ingest(log, path)
    written(path, 15)

    grown = ingest(log, path)

    assert (grown.accepted, grown.duplicates) == (3, 12)


def test_another_mapping_reads_the_file_anew(log, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,other\nu,i,j\n")
    ingest(log, path)

    assert ingest(log, path, columns={"item_id": "other"}).accepted == 1


def test_of_a_folder_only_new_files_are_read(log, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    written(folder / "a.csv", 5)
    ingest(log, folder)
    written(folder / "b.csv", 5, first=5)

    assert (done := ingest(log, folder)).accepted == 5
    assert done.passed == 1
    assert ingest(log, folder).passed == 2


def test_an_ingest_that_stops_goes_on_after_the_last_commit(log, tmp_path):
    path = written(tmp_path / "a.csv", 95)
    commits = []

    def then_stop(ingested):
        commits.append(ingested.accepted)
        if len(commits) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(log, path, committed=then_stop)
    assert commits == [10, 20, 30]

    rest = ingest(log, path)

    assert (rest.accepted, rest.duplicates) == (65, 0)
    assert rest.resumed == {str(path): 31}
    assert items(log) == [f"i{number}" for number in range(95)]


KILLED = """
import os, signal, sys
from pathlib import Path
from recae.data.eventlog import EventLog
from recae.data.eventlog import EventLog
from recae.data.eventlog import ingest as ingesting

url, archive, source, quarantine = sys.argv[1:]
ingesting.CHUNK_ROWS = 10
commits = []
def then_die(ingested):
    commits.append(ingested)
    if len(commits) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
ingesting.ingest(EventLog(url, Path(archive)), source, max_bad_share=0.5, quarantine=Path(quarantine), committed=then_die)
"""


@pytest.mark.parametrize("kind", ["csv.gz", "jsonl", "parquet"])
def test_a_killed_ingest_goes_on_and_keeps_each_bad_row_once(log, url, archive, tmp_path, kind):
    events = [
        {"user_id": f"u{n % 7}" if n % 6 else "", "item_id": f"i{n}", "timestamp": n} for n in range(95)
    ]
    path, quarantine = tmp_path / f"a.{kind}", tmp_path / "bad" / "rows.jsonl"
    write_as(path, kind, events)
    command = [sys.executable, "-c", KILLED, url, str(archive), str(path), str(quarantine)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    killed = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    n_before = log.count()

    done = ingest(log, path, max_bad_share=0.5, quarantine=quarantine)

    good = [event["item_id"] for event in events if event["user_id"]]
    assert 0 < n_before < len(good)
    assert done.accepted == len(good) - n_before
    assert done.duplicates == 0
    assert items(log) == good
    kept = [json.loads(line) for line in quarantine.read_text().splitlines()]
    offset = 2 if kind == "csv.gz" else 1
    assert [row["line"] for row in kept] == [n + offset for n in range(0, 95, 6)]
    assert [file.name for file in quarantine.parent.iterdir()] == ["rows.jsonl"]


def write_as(path, kind, events):
    if kind == "parquet":
        pa.parquet.write_table(pa.Table.from_pylist(events), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
    else:
        lines = [",".join(map(str, event.values())) for event in events]
        path.write_bytes(gzip.compress("\n".join(["user_id,item_id,timestamp", *lines]).encode()))


def test_a_source_that_is_mostly_bad_is_read_anew_when_more_is_allowed(log, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id\n" + ",x\nu,y\n" * 12)

    with pytest.raises(TooManyBadRowsError):
        ingest(log, path)
    done = ingest(log, path, max_bad_share=0.5)

    assert (done.report.bad, done.report.kept, log.count()) == (12, 12, 1)


def test_a_log_without_times_gets_that_of_its_arrival_and_a_replay_still_adds_nothing(log, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id\nu,i\nu,j\nu,i\n")

    done = ingest(log, path)
    log._clock = lambda: NOW + 1_000
    replayed = ingest(log, path, again=True)

    assert (done.accepted, done.duplicates) == (2, 1)
    assert (replayed.accepted, replayed.duplicates) == (0, 3)
    assert {event.timestamp for event in log.history("u").events} == {NOW}


def test_events_of_a_file_and_the_same_ones_sent_singly_are_the_same(log, tmp_path):
    path = written(tmp_path / "a.csv", 3)
    ingest(log, path)

    sent = [{"user_id": f"u{number}", "item_id": f"i{number}", "timestamp": number} for number in range(3)]
    assert log.append(sent) == (0, 3, [])


def test_events_from_the_future_are_set_aside(log, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"user_id,item_id,timestamp\nu,i,{NOW}\nu,j,{NOW + 61}\n")

    done = ingest(log, path, max_bad_share=0.5)

    assert (done.accepted, dict(done.report.reasons)) == (1, {"timestamp is in the future": 1})


def test_a_query_is_ingested_and_a_second_time_adds_nothing(log, tmp_path, sqlite_url):
    ingest(log, written(tmp_path / "a.csv", 25))
    query = Query(
        "SELECT user_id, item_id, timestamp FROM events", log.database.engine.url.render_as_string(False)
    )

    assert ingest(log, query).duplicates == 25


def has_user_index(log):
    with log.database.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE name = 'events_by_user'"
        ).all()
    return bool(found)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_first_load_builds_the_index_of_users_at_its_end_and_answers_meanwhile(log, tmp_path):
    path = written(tmp_path / "a.csv", 95)
    seen = []

    ingest(log, path, committed=lambda _: seen.append((has_user_index(log), len(log.history("u3").events))))

    assert {found for found, _ in seen} == {False}
    assert [n for _, n in seen] == sorted(n for _, n in seen)
    assert seen[-1][1] > 0
    assert has_user_index(log)
    written(tmp_path / "b.csv", 20, first=95)
    ingest(log, tmp_path / "b.csv", committed=lambda _: seen.append((has_user_index(log), 0)))
    assert seen[-1][0], "a log that holds events keeps its index"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_index_that_a_killed_load_left_out_is_made_at_the_next_opening(log, url, archive, tmp_path):
    log.database.begin_load()
    log.append_table(pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1]}))
    assert not has_user_index(log)

    with EventLog(url, archive) as opened:
        assert has_user_index(opened)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("is_archived", [False, True])
def test_an_export_of_events_without_times_brings_nothing_new(log, tmp_path, ending, is_archived):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,event_id\nu,i,\nu,j,\nv,i,own\n")
    ingest(log, path)
    ingest(log, written(tmp_path / "timed.csv", 3))
    if is_archived:
        log.compact(NOW + 1)
    exported = tmp_path / f"out.{ending}"
    export(log, exported)

    again = ingest(log, exported)

    assert (again.accepted, again.duplicates) == (0, 6)


def test_an_export_into_another_log_keeps_which_events_came_without_a_time(log, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id\nu,i\nu,j\n")
    ingest(log, path)
    export(log, tmp_path / "out.parquet")

    with EventLog(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other", clock=lambda: NOW + 9) as other:
        assert ingest(other, tmp_path / "out.parquet").accepted == 2
        assert [event._replace(sequence=0) for event in other.history("u").events] == [
            event._replace(sequence=0) for event in log.history("u").events
        ]
        assert ingest(other, path).duplicates == 2, "the file itself brings the same events"
        sent, _ = pa.parquet.read_table(tmp_path / "out.parquet").to_pylist()
        assert other.append([sent]).duplicates == 1, "and so does one of them over HTTP"


def test_an_ingest_that_gave_up_or_stored_nothing_does_not_count_for_the_share_of_bad_rows(log, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,when,timestamp\n" + f"u,i,{NOW},n/a\n" * 12)
    with pytest.raises(TooManyBadRowsError):
        ingest(log, path)
    assert unreadable_share(log.database, 0) is None

    ingest(log, path, columns={"timestamp": "when"})
    assert unreadable_share(log.database, 0) == 0.0

    path.write_text("user_id,item_id\nu,new\n,x\n,y\n,z\n")
    ingest(log, path, max_bad_share=1)
    ingest(log, path, max_bad_share=1, again=True)
    assert unreadable_share(log.database, 0) == 3 / 16


FRESH = b"user_id,item_id,timestamp\nu1,i123,1600000000\nu2,i456,16000"


@pytest.fixture
def growing(tmp_path):
    """Writes a file that a second ago was as long as this."""

    def write(text, name="live.csv", age_s=1):
        path = tmp_path / name
        path.write_bytes(text)
        os.utime(path, (time.time() - age_s,) * 2)
        return path

    return write


def test_a_line_that_is_still_being_written_is_left_to_the_next_ingest(log, growing):
    cut = ingest(log, growing(FRESH))
    assert (cut.accepted, cut.report.bad, items(log)) == (1, 0, ["i123"])
    assert cut.unfinished == [str(growing(FRESH))]
    assert "the last line of 1 file has no end yet and is left to the next ingest" in str(cut)

    whole = ingest(log, growing(FRESH + b"00500\n"))

    assert (whole.accepted, whole.duplicates, whole.unfinished) == (1, 1, [])
    assert [table.column("timestamp").to_pylist() for table in log.stream()] == [
        [1_600_000_000, 1_600_000_500]
    ]
    assert ingest(log, growing(FRESH + b"00500\n", age_s=0)).accepted == 0


def test_a_file_that_nobody_writes_to_any_more_has_its_last_line_as_it_is(log, growing):
    path = growing(FRESH)
    assert ingest(log, path).accepted == 1
    before = path.stat().st_mtime_ns

    # a minute later
    os.utime(path, ns=(before, before))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recae.data.places.FRESH_S", 0.0)
        later, third = ingest(log, path), ingest(log, path)

    assert (later.accepted, later.duplicates, later.resumed, later.unfinished) == (1, 0, {str(path): 2}, [])
    assert (third.passed, third.accepted) == (1, 0)
    assert items(log) == ["i123", "i456"]


@pytest.mark.parametrize("age_s", [120, 1e7])
def test_an_old_files_last_line_needs_no_end(log, growing, age_s):
    done = ingest(log, growing(FRESH, age_s=age_s))

    assert (done.accepted, done.unfinished) == (2, [])


def test_json_lines_that_are_being_written_wait_too(log, growing):
    lines = b'{"user_id": "u", "item_id": "a", "timestamp": 5}\n{"user_id": "u", "item_id": "b"'

    cut = ingest(log, growing(lines, "live.jsonl"))
    whole = ingest(log, growing(lines + b', "timestamp": 6}\n', "live.jsonl"))

    assert (cut.accepted, cut.report.bad, len(cut.unfinished)) == (1, 0, 1)
    assert (whole.accepted, whole.duplicates, whole.unfinished) == (1, 1, [])
    assert items(log) == ["a", "b"]


def test_a_compressed_file_is_whole_or_it_is_none(log, growing):
    assert ingest(log, growing(gzip.compress(FRESH), "live.csv.gz")).accepted == 2


@pytest.mark.parametrize("end", ["csv", "jsonl"])
def test_what_is_written_behind_a_cut_line_while_it_is_read_makes_no_rows(log, growing, monkeypatch, end):
    """The reader meets the end of the file, and what comes after it when it looks again."""
    first, cut, rest = (
        (b"user_id,item_id,timestamp\nu,a,5\n", b"u,bcd", b"e,6\nu,f,7\n")
        if end == "csv"
        else (
            b'{"user_id": "u", "item_id": "a", "timestamp": 5}\n',
            b'{"user_id": "u", "item_id": "bcd',
            b'e", "timestamp": 6}\n{"user_id": "u", "item_id": "f", "timestamp": 7}\n',
        )
    )
    path = growing(first + cut, f"live.{end}")
    opened, openings = LocalFile.open, []

    class Growing(io.BufferedReader):
        def __next__(self):
            line = super().__next__()
            if not line.endswith(b"\n") and len(openings) == 2:  # the first was for the columns
                with path.open("ab") as more:
                    more.write(rest)
            return line

    def open_growing(self):
        openings.append(self)
        return Growing(opened(self).detach())

    monkeypatch.setattr(LocalFile, "open", open_growing)
    ingest(log, path)
    assert items(log) == ["a"]
    monkeypatch.undo()

    done = ingest(log, path)

    assert (items(log), done.report.bad) == (["a", "bcde", "f"], 0)
