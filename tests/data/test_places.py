"""Logs from elsewhere: patterns, URLs, standard input, other compressions, queries."""

import bz2
import io
import lzma
import sqlite3
import sys

import fsspec
import pandas as pd
import pyarrow as pa
import pytest

from recae.data.acceptance import Acceptance
from recae.data.places import Query
from recae.data.readers import read_events
from recae.errors import ConfigError, DataError, TooManyBadRowsError

CSV = "user_id,item_id\nu1,i1\nu2,i2\n"
EVENTS = [("u1", "i1"), ("u2", "i2")]


def pairs(source, **options):
    frame = pd.concat(read_events(source, **options), ignore_index=True)
    return list(zip(frame["user_id"], frame["item_id"], strict=True))


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty before and after; it stands for an object store."""
    system = fsspec.filesystem("memory")
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)
    yield system
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


@pytest.mark.parametrize(
    ("ending", "compress"),
    [
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("zst", lambda raw: pa.compress(raw, "zstd", asbytes=True)),
    ],
)
def test_other_compressions_are_known_by_their_ending(tmp_path, ending, compress):
    path = tmp_path / f"a.csv.{ending}"
    path.write_bytes(compress(CSV.encode()))

    assert pairs(path) == EVENTS


@pytest.mark.parametrize("ending", ["bz2", "xz", "zst", "gz"])
def test_a_file_that_is_not_compressed_as_its_name_says_is_named(tmp_path, ending):
    path = tmp_path / f"a.csv.{ending}"
    path.write_text(CSV)

    with pytest.raises(DataError, match=f"a.csv.{ending} cannot be read"):
        pairs(path)


def test_a_pattern_names_files_in_the_order_of_their_names(tmp_path):
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text(f"user_id,item_id\n{name},x\n")

    assert [user for user, _ in pairs(f"{tmp_path}/*.csv")] == ["a.csv", "b.csv"]
    with pytest.raises(DataError, match="there is no file or folder"):
        read_events(f"{tmp_path}/*.parquet")


def test_a_format_may_be_named_where_the_name_does_not_tell(tmp_path):
    path = tmp_path / "clicks.log"
    path.write_text(CSV)

    assert pairs(path, format_="csv") == EVENTS
    with pytest.raises(DataError, match=r"clicks.log is of an unknown format"):
        read_events(path)
    with pytest.raises(ConfigError, match="there is no format 'xml'"):
        read_events(path, format_="xml")


@pytest.mark.parametrize("source", ["memory://logs/a.csv", "memory://logs", "memory://logs/*.csv"])
def test_a_url_is_a_file_a_folder_or_a_pattern(memory, source):
    memory.pipe("/logs/a.csv", CSV.encode())
    memory.pipe("/logs/_SUCCESS", b"")

    assert pairs(source) == EVENTS


def test_a_file_url_and_parquet_behind_a_url_are_read(tmp_path, memory):
    pd.DataFrame(EVENTS, columns=["user_id", "item_id"]).to_parquet(tmp_path / "a.parquet")
    memory.pipe("/a.parquet", (tmp_path / "a.parquet").read_bytes())

    assert pairs(f"file://{tmp_path}/a.parquet") == pairs("memory://a.parquet") == EVENTS


def test_bad_rows_behind_a_url_are_named_by_it(memory, tmp_path):
    memory.pipe("/a.csv", b"user_id,item_id\n,x\n")

    with pytest.raises(TooManyBadRowsError, match=r"rows of memory://a.csv are bad"):
        pairs("memory://a.csv", quarantine=tmp_path / "bad.jsonl")
    assert '"source": "memory:///a.csv", "line": 2' in (tmp_path / "bad.jsonl").read_text()


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("memory://nowhere/a.csv", DataError, "there is no log at memory://nowhere/a.csv"),
        ("nosuch://bucket/a.csv", DataError, "is no URL of a log"),
        ("-", ConfigError, "name it, as in --format csv"),
    ],
)
def test_what_cannot_be_found_is_said(memory, source, error, message):
    with pytest.raises(error, match=message):
        read_events(source)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "csv.bz2", "parquet"])
def test_standard_input_is_read_once(monkeypatch, tmp_path, kind):
    frame = pd.DataFrame(EVENTS, columns=["user_id", "item_id"])
    raw = {
        "csv": CSV.encode(),
        "csv.bz2": bz2.compress(CSV.encode()),
        "jsonl": frame.to_json(orient="records", lines=True).encode(),
        "parquet": frame.to_parquet(),
    }[kind]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    stream = read_events("-", format_=kind)

    assert pd.concat(stream)["user_id"].tolist() == ["u1", "u2"]
    with pytest.raises(DataError, match="standard input can be read once, and was"):
        next(iter(stream))


@pytest.fixture
def shop(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (customer, product, at)")
        orders = [(1, "i1", 1_600_000_000), ("u2", 2, "2020-09-13T12:26:40Z"), (None, "i3", 5)]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", orders)
    connection.close()
    return f"sqlite:///{tmp_path}/shop.db"


def test_the_rows_of_a_query_are_a_log(shop, tmp_path):
    query = Query(
        "SELECT customer AS user_id, product AS item_id, at AS timestamp FROM orders ORDER BY rowid", shop
    )
    stream = read_events(query, max_bad_share=0.5, quarantine=tmp_path / "bad.jsonl")

    assert pd.concat(stream).to_dict("records") == [
        {"user_id": "1", "item_id": "i1", "timestamp": 1_600_000_000},
        {"user_id": "u2", "item_id": "2", "timestamp": 1_600_000_000},
    ]
    assert '"line": 3, "reason": "missing user_id"' in (tmp_path / "bad.jsonl").read_text()


def test_a_query_that_is_refused_and_a_database_that_is_none_are_said(shop):
    with pytest.raises(DataError, match=r"shop\.db refuses the query: no such table: nowhere"):
        read_events(Query("SELECT * FROM nowhere", shop))
    with pytest.raises(ConfigError, match="expected a URL as SQLAlchemy reads it"):
        read_events(Query("SELECT 1", "not a url"))
    with pytest.raises(DataError, match="has no column for user_id"):
        read_events(Query("SELECT customer FROM orders", shop))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("u,i,101", "timestamp is in the future"),
        ("u,i,-62135596801", "timestamp is before the year 1"),
        (f"{'u' * 257},i,1", "user_id is longer than 256 characters"),
        ("u,a\0b,1", "item_id holds a zero byte"),
    ],
)
def test_what_no_database_could_store_is_set_aside(tmp_path, row, reason):
    path = tmp_path / "a.csv"
    path.write_text(f"user_id,item_id,timestamp\nu,i,100\n{row}\n")
    stream = read_events(path, max_bad_share=0.5, acceptance=Acceptance(latest=100))

    assert pd.concat(stream).to_dict("list") == {"user_id": ["u"], "item_id": ["i"], "timestamp": [100]}
    assert dict(stream.report.reasons) == {reason: 1}
