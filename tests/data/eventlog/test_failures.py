"""What a person has to mend is told apart from what may pass by itself, and says how."""

import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import event, text

from recae.data.eventlog import Event, EventLog
from recae.errors import EventLogError, LastingLogError
from tests.data.eventlog.conftest import NOW

MANY = [Event(f"u{number}", f"i{number}" * 20, timestamp=NOW) for number in range(2_000)]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_full_disk_says_to_make_room(log):
    event.listen(
        log.database.engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 60").close()
    )
    log.database.engine.dispose()  # connections of before have no limit

    with pytest.raises(LastingLogError, match="database or disk is full; make room"):
        log.append(MANY)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_malformed_file_says_to_restore_it_whoever_reads(url, archive, home):
    with EventLog(url, archive) as log:
        log.append(MANY)
        log.database.write(lambda connection: None)
    file = home / "events.db"
    pages = bytearray(file.read_bytes())
    pages[8 * 4_096 :] = b"\xff" * (len(pages) - 8 * 4_096)
    file.write_bytes(pages)

    malformed = pytest.raises(
        LastingLogError, match="malformed; its file is damaged: restore it from a backup"
    )
    with EventLog(url, archive) as log:
        with malformed:
            log.stats()
        with malformed:
            log.recent("u7", 10)


def test_a_folder_in_a_files_place_says_to_name_a_file(sqlite_url, archive, home):
    (home / "events.db").mkdir(parents=True)

    with pytest.raises(LastingLogError, match="unable to open database file; it is a folder: name a file"):
        EventLog(sqlite_url, archive)


@pytest.fixture
def closed(sqlite_url, archive, home):
    """The address of a log that SQLite cannot open."""
    EventLog(sqlite_url, archive).close()
    (home / "events.db-wal").mkdir()
    return sqlite_url


@pytest.mark.parametrize("create", [True, False])
def test_a_log_on_a_read_only_disk_says_so(closed, archive, monkeypatch, create):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))

    with pytest.raises(LastingLogError, match="unable to open database file; its disk is mounted read-only"):
        EventLog(closed, archive, create=create)


@pytest.mark.parametrize("withheld", ["", "events.db"], ids=["its folder", "its file"])
def test_a_log_without_rights_says_for_whom(closed, archive, home, monkeypatch, withheld):
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != home / withheld)
    said = f"unable to open database file; it is not writable for this user (id {os.geteuid()}): give it"

    with pytest.raises(LastingLogError, match=re.escape(said)):
        EventLog(closed, archive)


def test_a_file_that_cannot_be_opened_for_no_lasting_reason_may_be_later(sqlite_url, archive, home):
    with EventLog(sqlite_url, archive) as log:
        log.database.engine.dispose()
        home.rename(home.with_name("unmounted"))

        with pytest.raises(EventLogError, match=r"unable to open .*; see that its file and folder") as failed:
            log.count()
    assert not isinstance(failed.value, LastingLogError)


def test_a_disk_that_does_not_answer_may_come_back(closed, archive, monkeypatch):
    def is_away(_):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "statvfs", is_away)

    with pytest.raises(EventLogError, match="unable to open database file; see that") as failed:
        EventLog(closed, archive)
    assert not isinstance(failed.value, LastingLogError)


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
@pytest.mark.parametrize(("code", "remedy"), [("53100", "make room"), ("XX001", "restore it from a backup")])
def test_what_a_server_cannot_mend_says_what_to_do(log, code, remedy):
    fails = text(f"DO $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = '{code}'; END $$")

    with pytest.raises(LastingLogError, match=rf"failed: broken.*; .*{remedy}"):
        log.database.write(lambda connection: connection.execute(fails))


def test_a_server_that_does_not_answer_may_come_back(archive):
    with pytest.raises(EventLogError, match="see that its database is up") as failed:
        EventLog("postgresql://recae@127.0.0.1:1/events", archive)
    assert not isinstance(failed.value, LastingLogError)
