"""Readers: every format gives the same events, and bad rows are set aside with their reason."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recae.data import cleaning
from recae.data.columns import DoubtfulError
from recae.data.interactions import Interactions
from recae.data.readers import read_events
from recae.errors import DataError
from tests.data.logs import GOOD, HEADER, bad_rows, read, write

SECOND = 1_600_000_000  # 2020-09-13T12:26:40Z

EVENTS = pd.DataFrame(
    {
        "user_id": ["u1", "u2", "ü3"],
        "item_id": ["7", "8", "007"],
        "timestamp": [SECOND, SECOND + 1, SECOND + 2],
        "event_type": ["view", "buy", "view"],
        "value": [1.0, 2.5, -3.0],
        "event_id": ["e1", "e2", "e3"],
    }
)


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a.CSV", "a.tsv", "a.csv.gz", "a.tsv.gz", "a.jsonl", "a.ndjson", "a.jsonl.gz", "a.parquet"],
)
@pytest.mark.parametrize("chunk_rows", [1, 2, 1000])
def test_every_format_gives_the_same_events(tmp_path, name, chunk_rows):
    path = tmp_path / name
    kind = name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        EVENTS.to_parquet(path)
    elif kind in {"csv", "tsv"}:
        write(tmp_path, name, EVENTS.to_csv(index=False, sep="," if kind == "csv" else "\t"))
    else:
        write(tmp_path, name, EVENTS.to_json(orient="records", lines=True))

    stream = read_events(path, chunk_rows=chunk_rows)
    chunks = list(stream)

    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), EVENTS)
    assert max(map(len, chunks)) == min(chunk_rows, 3)
    assert (stream.report.read, stream.report.kept, stream.report.bad) == (3, 3, 0)
    assert str(stream.report) == "3 rows read, 3 kept, 0 bad"


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    (tmp_path / "day2").mkdir()
    write(tmp_path / "day2", "a.csv", "user_id,item_id\nthird,x\n")
    write(tmp_path, "b.jsonl", '{"user_id": "second", "item_id": "x"}\n')
    write(tmp_path, "a.csv.gz", "item_id,user_id\nx,first\n")
    for other in ("_SUCCESS", ".a.csv.swp", "notes.txt"):
        write(tmp_path, other, "nothing to read")

    stream = read_events(tmp_path)

    assert pd.concat(stream)["user_id"].tolist() == ["first", "second", "third"]
    assert stream.report.skipped_files == [tmp_path / "notes.txt"]


def test_a_stream_can_be_read_again(tmp_path):
    stream = read_events(write(tmp_path, "a.csv", "user_id,item_id\na,x\n"))

    assert [len(chunk) for chunk in stream] == [len(chunk) for chunk in stream] == [1]
    assert stream.report.kept == 1


def test_other_column_names_are_mapped_and_strangers_are_left_alone(tmp_path):
    path = write(tmp_path, "a.csv", 'movieId,title,userId,rating,value\n31,"Dumbo, again",1,2.5,9\n')

    events = read(path, columns={"user_id": "userId", "item_id": "movieId", "value": "rating"})

    assert events.to_dict("records") == [{"user_id": "1", "item_id": "31", "value": 2.5}]


def test_an_optional_column_can_be_left_out(tmp_path):
    path = write(tmp_path, "a.csv", "user_id,item_id,value\na,x,not a number\n")

    assert read(path, columns={"value": None}).columns.tolist() == ["user_id", "item_id"]


def test_a_stream_goes_straight_into_interactions(tmp_path):
    path = write(tmp_path, "a.csv", EVENTS.to_csv(index=False))

    interactions = Interactions.from_events(read_events(path, chunk_rows=1))

    assert interactions.matrix.toarray().tolist() == [[1.0, 0, 0], [0, 2.5, 0], [0, 0, -3.0]]
    assert interactions.times.tolist() == EVENTS["timestamp"].tolist()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",i,1,1", "missing user_id"),
        ("u,  ,1,1", "missing item_id"),
        ("u,i,,1", "missing timestamp"),
        ("u,i,yesterday,1", "timestamp is neither epoch seconds nor ISO 8601"),
        ("u,i,2020-13-01,1", "timestamp is neither epoch seconds nor ISO 8601"),
        ("u,i,nan,1", "timestamp is not finite"),
        ("u,i,1600000000000000,1", "timestamp is out of range: neither seconds nor milliseconds"),
        ("u,i,1,", "missing value"),
        ("u,i,1,five", "value is not a number"),
        ("u,i,1,1_000", "value is not a number"),
        ("u,i,1,0x10", "value is not a number"),
        ("u,i,1,NaN", "value is not finite"),
        ("u,i,1,-inf", "value is not finite"),
        ("u,i,1,1e39", "value is too large for float32"),
        ("u,i,1", "too few columns"),
        ("u,i,1,1,1", "too many columns"),
        ('u,"i,1,1', "broken quotes"),
        ('u,"i"x,1,1,"', "broken quotes"),
        ("u,i\r,1,1", "broken quotes"),
        (b"u,\xff,1,1", "not UTF-8"),
    ],
)
def test_a_bad_line_of_csv_is_set_aside_with_its_number_and_reason(tmp_path, line, reason):
    raw = line if isinstance(line, bytes) else line.encode()
    path = write(tmp_path, "a.csv", HEADER.encode() + GOOD.encode() + b"\r\n" + raw + b"\r\n" + GOOD.encode())

    (found,) = bad_rows(path)
    assert (found["source"], found["line"], found["reason"]) == (str(path), 4, reason)
    assert found["row"] == raw.decode(errors="backslashreplace")
    assert len(read(path, max_bad_share=0.5)) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        ('{"user_id": "u", "item_id": "i"} {"user_id": "u", "item_id": "i"}', "not a JSON object"),
        ('{"item_id": "i", "value": 1}', "missing user_id"),
        ('{"user_id": null, "item_id": "i", "value": 1}', "missing user_id"),
        ('{"user_id": true, "item_id": "i", "value": 1}', "user_id is neither text nor an integer"),
        ('{"user_id": 1.5, "item_id": "i", "value": 1}', "user_id is neither text nor an integer"),
        ('{"user_id": ["u"], "item_id": "i", "value": 1}', "user_id is neither text nor an integer"),
        ('{"user_id": "\\ud800", "item_id": "i", "value": 1}', "not UTF-8"),
        ('{"user_id": "u", "item_id": "i", "value": true}', "value is not a number"),
        ('{"user_id": "u", "item_id": "i", "value": NaN}', "value is not finite"),
        ('{"user_id": "u", "item_id": "i", "value": 1' + "0" * 400 + "}", "value is not finite"),
        ('{"user_id": "u", "item_id": "i"}', "missing value"),
    ],
)
def test_a_bad_line_of_json_is_set_aside_with_its_number_and_reason(tmp_path, line, reason):
    good = '{"user_id": "u", "item_id": "i", "value": 1}'
    path = write(tmp_path, "a.jsonl", f"{good}\n{good}\n{line}\n")

    (found,) = bad_rows(path)
    assert (found["line"], found["row"], found["reason"]) == (3, line, reason)


def test_a_bad_row_of_parquet_is_set_aside_with_its_number_and_reason(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame(
        {"user_id": ["u", "u", None], "item_id": [1.0, 2.5, 3.0], "value": [1.0, 1.0, np.inf], "other": 0}
    ).to_parquet(path)

    found = bad_rows(path)

    assert [(row["line"], row["reason"]) for row in found] == [
        (2, "item_id is neither text nor an integer"),
        (3, "missing user_id"),
    ]
    assert found[1]["row"] == {"user_id": None, "item_id": 3.0, "value": "inf"}
    assert read(path, max_bad_share=1)["item_id"].tolist() == ["1"]


def test_what_only_parquet_can_hold_is_read_or_set_aside(tmp_path):
    path = tmp_path / "a.parquet"
    far = 400_000_000_000_000_000  # microseconds: after the year 9999
    columns = {
        "user_id": pa.array([b"u", b"\xff", b"u", b"u"], pa.binary()),
        "item_id": pa.array([1, 1, 1, None], pa.uint64()),
        "timestamp": pa.array([SECOND * 10**6, 1, far, 1], pa.timestamp("us")),
        "value": pa.array([Decimal("2.50")] * 4),
    }
    pq.write_table(pa.table(columns), path)

    found = bad_rows(path)

    assert [(row["line"], row["reason"]) for row in found] == [
        (2, "not UTF-8"),
        (3, "a value that cannot be read"),
        (4, "missing item_id"),
    ]
    assert found[1]["row"]["timestamp"] == "timestamp[us]"
    assert read(path, max_bad_share=1).to_dict("records") == [
        {"user_id": "u", "item_id": "1", "timestamp": SECOND, "value": 2.5}
    ]


@pytest.mark.parametrize("ids", [[7, 8], [7.0, 8.0], ["7", "8"]])
def test_integers_as_ids_become_their_decimals(tmp_path, ids):
    frame = pd.DataFrame({"user_id": ids, "item_id": ids})
    frame.to_parquet(tmp_path / "a.parquet")
    write(tmp_path, "a.jsonl", "".join(json.dumps({"user_id": i, "item_id": i}) + "\n" for i in ids))

    for name in ("a.parquet", "a.jsonl"):
        assert read(tmp_path / name)["user_id"].tolist() == ["7", "8"]


def test_dictionaries_and_integers_with_gaps_are_ids_too(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"user_id": pd.Categorical(["a", "b", "a"]), "item_id": [1.0, None, 3.0]})
    frame.to_parquet(path)

    assert read(path, max_bad_share=1).to_dict("list") == {"user_id": ["a", "a"], "item_id": ["1", "3"]}


@pytest.mark.parametrize(
    "text",
    [
        "1600000000",
        "1600000000.9",
        "1600000000123",
        "1.6e9",
        "2020-09-13T12:26:40Z",
        "2020-09-13 12:26:40.999999+00:00",
        "2020-09-13T14:26:40+02:00",
        "2020-09-13T12:26:40",
    ],
)
@pytest.mark.parametrize("spoil", ["", "u,i,never\n"])
def test_all_spellings_of_a_time_mean_the_same_second(tmp_path, text, spoil):
    path = write(tmp_path, "a.csv", f"user_id,item_id,timestamp\nu,i,{text}\n{spoil}")

    assert read(path, max_bad_share=0.5)["timestamp"].tolist() == [SECOND]


@pytest.mark.parametrize(
    "times",
    [
        pd.to_datetime([SECOND] * 2, unit="s"),
        pd.to_datetime([SECOND] * 2, unit="s", utc=True).tz_convert("Europe/Berlin"),
        pd.to_datetime([SECOND * 10**9 + 5] * 2, unit="ns"),
        pd.Series([SECOND * 1000 + 7] * 2),
        pd.Series([SECOND + 0.5] * 2),
    ],
)
@pytest.mark.parametrize("spoil", [False, True])
def test_all_types_of_a_time_in_parquet_mean_the_same_second(tmp_path, times, spoil):
    path = tmp_path / "a.parquet"
    users = ["u", None] if spoil else ["u", "u"]
    pd.DataFrame({"user_id": users, "item_id": "i", "timestamp": times}).to_parquet(path)

    assert set(read(path, max_bad_share=0.5)["timestamp"]) == {SECOND}


def test_a_time_before_1970_is_rounded_down_too(tmp_path):
    path = write(tmp_path, "a.csv", "user_id,item_id,timestamp\nu,i,1969-12-31T23:59:58.5Z\n")

    assert read(path)["timestamp"].tolist() == [-2]


def test_a_date_is_its_midnight(tmp_path):
    path = tmp_path / "a.parquet"
    day = datetime(2020, 9, 13, tzinfo=UTC)
    frame = pd.DataFrame({"user_id": ["u", None], "item_id": ["i", "i"], "timestamp": [day.date()] * 2})
    frame.to_parquet(path)
    frame[:1].to_parquet(tmp_path / "good.parquet")
    text = write(tmp_path, "a.csv", "user_id,item_id,timestamp\nu,i,2020-09-13\n")

    for source in (path, tmp_path / "good.parquet", text):
        assert read(source, max_bad_share=0.5)["timestamp"].tolist() == [int(day.timestamp())]


FIELD = st.one_of(
    st.sampled_from(
        ["u", "7", "", " ", "1e3", "+4", " 4", "nan", "-inf", "1e39", "1_0", "0x1f", "1600000000000", "1e15"]
    ),
    st.sampled_from(
        ["2020-09-13T12:26:40Z", "2020-09-13 12:26", "2020-09-13", "ü", '"q"', '"a\nb"', '"', "a\rb", "a,b"]
    ),
    st.integers(-5, 5).map(str),
    st.text(alphabet='ab1.-," \t', max_size=4),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(FIELD, FIELD, FIELD, FIELD), min_size=1, max_size=12))
def test_the_fast_way_and_the_slow_way_agree_about_any_csv(lines):
    with TemporaryDirectory() as folder:
        path = write(Path(folder), "a.csv", HEADER + "".join(",".join(fields) + "\n" for fields in lines))
        fast = outcome(path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cleaning, "clean_columns", never_sure)
            slow = outcome(path)

    assert fast == slow


def never_sure(columns):
    raise DoubtfulError


def outcome(path: Path) -> tuple[list, dict]:
    stream = read_events(path, max_bad_share=1.0)
    try:
        rows = [tuple(row) for chunk in stream for row in chunk.itertuples(index=False)]
    except DataError as error:
        return [str(error)], {}
    return rows, dict(stream.report.reasons)
