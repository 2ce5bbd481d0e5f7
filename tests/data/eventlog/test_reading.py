"""Histories in pages, streams up to a watermark, and counts."""

import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recae.data.eventlog import Event, compaction
from recae.data.interactions import Interactions
from recae.errors import DataError, EventLogError, LastingLogError
from tests.data.eventlog.conftest import NOW


def items(tables):
    return [item for table in tables for item in table.column("item_id").to_pylist()]


def test_a_history_is_read_page_by_page_newest_first(log):
    times = [3, 1, 4, 1, 5, 9, 2, 6]
    log.append([Event("u", f"i{place}", timestamp=time) for place, time in enumerate(times)])
    log.append([Event("somebody else", "x", timestamp=7)])

    pages, cursor = [], None
    while True:
        page = log.history("u", 3, cursor)
        pages.append([event.item_id for event in page.events])
        cursor = page.next_cursor
        if cursor is None:
            break

    assert pages == [["i5", "i7", "i4"], ["i2", "i0", "i6"], ["i3", "i1"]]
    assert [item for page in pages for item in page] == [event.item_id for event in log.history("u").events]


def test_events_that_arrive_between_two_pages_neither_hide_nor_repeat_older_ones(log):
    log.append([Event("u", name, timestamp=time) for time, name in enumerate("abcd")])
    first = log.history("u", 2)
    log.append([Event("u", "new", timestamp=NOW)])

    assert [event.item_id for event in log.history("u", 2, first.next_cursor).events] == ["b", "a"]


def test_a_user_without_events_has_an_empty_history(log):
    assert log.history("nobody", 5) == ([], None)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.x"])
def test_an_invented_cursor_is_refused(log, cursor):
    with pytest.raises(DataError, match="expected next_cursor of the page before"):
        log.history("u", 1, cursor)


@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
def test_a_stream_gives_everything_in_the_order_of_arrival(log, chunk_rows):
    names = [f"i{number}" for number in range(10)]
    log.append([Event("u", name, timestamp=NOW - place % 4) for place, name in enumerate(names)])

    tables = list(log.stream(chunk_rows=chunk_rows))

    assert items(tables) == names
    assert max(table.num_rows for table in tables) == min(chunk_rows, 10)
    assert np.diff(pa.concat_tables(tables).column("sequence").to_numpy()).min() > 0


def test_streams_from_watermark_to_watermark_give_each_event_once(log):
    seen, before = [], 0
    for number in range(4):
        log.append([Event("u", f"i{number}", timestamp=NOW - number)])
        until = log.watermark()
        seen.append(items(log.stream(before, until)))
        before = until

    assert seen == [["i0"], ["i1"], ["i2"], ["i3"]]
    assert items(log.stream(before)) == []


def test_what_is_appended_while_a_stream_is_read_does_not_show(log):
    log.append([Event("u", f"i{number}", timestamp=NOW) for number in range(4)])
    stream = log.stream(chunk_rows=2)
    first = next(stream)
    log.append([Event("u", "later", timestamp=NOW)])

    assert items([first, *stream]) == ["i0", "i1", "i2", "i3"]


def test_numbers_are_never_given_out_again(log):
    log.append([Event("u", "i", timestamp=NOW)])
    until = log.watermark()
    log.delete_user("u")
    log.append([Event("v", "j", timestamp=NOW)])

    assert log.watermark() > until
    assert items(log.stream(after=until)) == ["j"]


def test_a_stream_goes_straight_into_interactions(log):
    log.append(
        [
            Event("u", "i", value=2, timestamp=1),
            Event("u", "i", value=3, timestamp=2),
            Event("v", "j", timestamp=3),
        ]
    )

    interactions = Interactions.from_events((table.to_pandas() for table in log.stream()), duplicates="sum")

    assert interactions.matrix.toarray().tolist() == [[5, 0], [0, 1]]
    assert interactions.times.tolist() == [2, 3]


def test_an_empty_log_has_nothing(log):
    assert (log.count(), log.watermark(), list(log.stream())) == (0, 0, [])
    assert log.stats().first_timestamp is None


def test_the_stats_count_events_users_items_and_types(log):
    log.append(
        [
            Event("u", "i", "view", timestamp=5),
            Event("u", "j", "buy", timestamp=9),
            Event("v", "j", timestamp=7),
        ]
    )

    stats = log.stats()

    assert (stats.n_events, stats.n_users, stats.n_items, stats.watermark) == (3, 2, 2, 3)
    assert (stats.first_timestamp, stats.last_timestamp) == (5, 9)
    assert stats.event_types == {"buy": 1, "view": 2}
    assert log.count() == 3


@contextmanager
def files_that_may_be_opened(n):
    """Let this process open so many more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    free = [number for number in range(max(used) + n + 2) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[n], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_partitions_are_opened_one_after_the_other_however_many_there_are(log, monkeypatch):
    monkeypatch.setattr(compaction, "PARTITION_ROWS", 2)
    log.append([Event("u", f"i{number}", timestamp=number) for number in range(50)])
    log.compact(40)
    assert log.stats().n_partitions == 20

    with files_that_may_be_opened(8):
        assert items(log.stream(chunk_rows=3)) == [f"i{number}" for number in range(50)]
        assert items(log.stream(after=15, until=31, chunk_rows=7)) == [
            f"i{number}" for number in range(15, 31)
        ]


def test_more_partitions_at_once_than_files_may_be_open_are_an_error_that_says_so(log, monkeypatch):
    monkeypatch.setattr(compaction, "PARTITION_ROWS", 10)
    times = [number % 10 for number in range(100)]
    log.append([Event("u", f"i{number}", timestamp=time) for number, time in enumerate(times)])
    for time in range(1, 11):  # each partition reaches over the whole log
        log.compact(time)
    assert log.stats().n_partitions == 10
    log.count()

    with (
        files_that_may_be_opened(6),
        pytest.raises(EventLogError, match="Too many open files; let this process open more") as failed,
    ):
        items(log.stream(chunk_rows=3))
    assert not isinstance(failed.value, LastingLogError)
    assert items(log.stream()) == [f"i{number}" for number in range(100)]


@pytest.mark.parametrize("is_read_to_its_end", [True, False])
def test_what_was_replaced_while_it_was_read_goes_when_nobody_reads_it(log, archive, is_read_to_its_end):
    log.append([Event(f"u{number % 2}", f"i{number}", timestamp=number) for number in range(20)])
    log.compact(20)
    stream = log.stream(chunk_rows=4)
    first = items([next(stream)])
    log.delete_user("u1")
    assert items(log.stream()) == [f"i{number}" for number in range(0, 20, 2)], "others see the deletion"

    if is_read_to_its_end:
        assert first + items(stream) == [f"i{number}" for number in range(20)]
    else:
        stream.close()
        log.expire(0)

    assert len(list(archive.glob("*.parquet"))) == log.stats().n_partitions == 1
