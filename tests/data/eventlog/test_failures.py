"""What a person has to mend is told apart from what may pass by itself, and says how."""

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
