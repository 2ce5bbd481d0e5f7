"""Readers: what happens to bad rows, too many of them, and files that are no logs."""

import pytest

from recae.data.readers import read_events
from recae.errors import ConfigError, DataError, TooManyBadRowsError
from tests.data.logs import GOOD, HEADER, bad_rows, read, write


def test_one_bad_row_among_many_is_found_and_the_others_stay_in_order(tmp_path):
    lines = [f"u{n},i{n},{n},1\n" for n in range(5_000)]
    lines[4321] = "u,i,x,1\n"
    path = write(tmp_path, "a.csv", HEADER + "".join(lines))

    (found,) = bad_rows(path)
    times = read(path)["timestamp"].tolist()

    assert found["line"] == 4321 + 2
    assert times == [n for n in range(5_000) if n != 4321]


def test_too_many_bad_rows_stop_the_reading_with_the_first_reasons(tmp_path):
    path = write(tmp_path, "a.csv", HEADER + GOOD * 7 + ",i,1,1\n" * 3)
    kept = tmp_path / "bad.jsonl"

    with pytest.raises(TooManyBadRowsError) as caught:
        read(path, max_bad_share=0.2, quarantine=kept)

    message = str(caught.value)
    assert "3 of 10 rows" in message
    assert "30.0%, allowed are 20.0%" in message
    assert "a.csv line 9: missing user_id; a.csv line 10: missing user_id" in message
    assert f"all of them are in {kept}" in message
    assert len(kept.read_text().splitlines()) == 3
    assert len(read(path, max_bad_share=0.3)) == 7


def test_a_hopeless_log_is_given_up_early(tmp_path):
    path = write(tmp_path, "a.csv", HEADER + ",i,1,1\n" * 2_000 + GOOD * 1_000_0)
    stream = read_events(path, chunk_rows=500)

    with pytest.raises(TooManyBadRowsError, match=r"1,000 of 1,000 rows .* name a quarantine file"):
        list(stream)


def test_a_clump_of_bad_rows_does_not_stop_a_good_log(tmp_path):
    path = write(tmp_path, "a.csv", HEADER + GOOD * 950 + ",i,1,1\n" * 50 + GOOD * 9_000)

    assert len(read(path, chunk_rows=1_000)) == 9_950


def test_a_log_without_bad_rows_leaves_no_quarantine(tmp_path):
    path = write(tmp_path, "a.csv", HEADER + GOOD)
    kept = tmp_path / "kept" / "bad.jsonl"
    kept.parent.mkdir()
    kept.write_text("from an earlier run")

    stream = read_events(path, quarantine=kept)
    list(stream)

    assert stream.report.quarantine is None
    assert list(kept.parent.iterdir()) == []


def test_a_reading_that_breaks_off_leaves_nothing_half_written(tmp_path):
    path = write(tmp_path, "a.csv", HEADER + GOOD + ",i,1,1\n" + GOOD)
    kept = tmp_path / "kept" / "bad.jsonl"

    chunks = iter(read_events(path, quarantine=kept, chunk_rows=1, max_bad_share=1))
    next(chunks)
    next(chunks)
    assert len(list(kept.parent.iterdir())) == 1, "the bad row is in a temporary file by now"
    chunks.close()

    assert list(kept.parent.iterdir()) == []


@pytest.mark.parametrize("place", ["a.csv", "bad.jsonl"])
def test_the_quarantine_may_not_lie_in_the_log(tmp_path, place):
    write(tmp_path, "a.csv", HEADER + GOOD)
    source = tmp_path / "a.csv" if place == "a.csv" else tmp_path

    with pytest.raises(ConfigError, match="lies in the log"):
        read_events(source, quarantine=tmp_path / place)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "a.csv is empty; expected a header line"),
        ("a.csv.gz", "", "is empty"),
        ("a.jsonl", "\n\n", "a.jsonl is empty; expected one JSON object a line"),
        ("a.csv", HEADER, "has columns but no rows"),
        ("a.csv", "user_id,item_id,user_id\n", "several columns named user_id"),
        ("a.csv", b"\xff\xfeu\0s\0", "header that cannot be read"),
        ("a.parquet", "no Parquet", "a.parquet cannot be read"),
        ("a.xlsx", "", "unknown format; expected a name that ends in .csv, .csv.gz"),
        (
            "a.csv",
            "userId,item_id,rating\n1,2,3\n",
            r'expected user_id; name it: columns = \{ user_id = "<its name in the file>" \} in a protocol, --column user_id=<its name>',
        ),
        (
            "a.csv",
            "user_id;item_id;value\nu;i;1\n",
            r"its fields seem to be separated by ';': write them with commas \(or tabs, as \.tsv\)",
        ),
    ],
)
def test_an_unusable_file_is_refused_with_what_was_found_and_expected(tmp_path, name, text, message):
    path = write(tmp_path, name, text)

    with pytest.raises(DataError, match=message):
        read(path)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_truncated_archive_is_an_error_not_a_short_log(tmp_path, name):
    line = GOOD if "csv" in name else '{"user_id": "u", "item_id": "i"}\n'
    path = write(tmp_path, name, (HEADER if "csv" in name else "") + line * 50_000)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DataError, match=f"{name} cannot be read: .* is it complete"):
        read(path)


def test_an_error_of_the_consumer_stays_its_own(tmp_path):
    path = write(tmp_path, "a.csv", HEADER + GOOD)

    def consume() -> None:
        for _ in read_events(path):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match=r"^the disk is full$"):
        consume()


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file or folder .*nowhere"):
        read_events(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no log; expected files that end in .csv"):
        read_events(tmp_path)


def test_files_of_one_log_must_have_the_same_columns(tmp_path):
    write(tmp_path, "a.csv", "user_id,item_id\na,x\n")
    write(tmp_path, "b.csv", "user_id,item_id,value\na,x,1\n")

    with pytest.raises(
        DataError, match=r"b.csv has user_id, item_id, value, but .*a.csv has user_id, item_id;"
    ):
        read(tmp_path)
    assert len(read(tmp_path, columns={"value": None})) == 2


def test_a_column_that_recae_does_not_know_cannot_be_mapped(tmp_path):
    with pytest.raises(ConfigError, match="no column rating to map; there are user_id, item_id, timestamp"):
        read_events(write(tmp_path, "a.csv", HEADER), columns={"rating": "stars"})


@pytest.mark.parametrize("wrong", [{"max_bad_share": 1.5}, {"chunk_rows": 0}])
def test_settings_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected 0 <= max_bad_share <= 1 and chunk_rows >= 1, found"):
        read_events(write(tmp_path, "a.csv", HEADER), **wrong)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = write(tmp_path, "a.csv", b"\xef\xbb\xbf" + (HEADER + GOOD).encode())
    lines = write(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"user_id": "u", "item_id": "i"}\n')

    assert len(read(path)) == len(read(lines)) == 1


def test_empty_optional_text_is_missing(tmp_path):
    path = write(tmp_path, "a.csv", "user_id,item_id,event_type\nu,i,\nu,i,view\n")

    assert read(path)["event_type"].isna().tolist() == [True, False]
