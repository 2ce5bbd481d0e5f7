"""Read a catalogue from CSV, JSON lines or Parquet. Fields that recae does not know are kept as they are."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow.parquet as pq

from recae.data.acceptance import Acceptance
from recae.data.blocks import errors_named
from recae.data.formats import DELIMITERS, JSON_LINES
from recae.data.places import BinaryPlace, find
from recae.data.rows import CLEANERS, BadRowError
from recae.errors import DataError

FORMATS = (*DELIMITERS, *JSON_LINES, ".parquet")
CATEGORY_SEPARATOR = "|"
"""Between the categories of an item in one field of text."""
KNOWN = ("item_id", "title", "year", "categories", "available", "hidden")
TRUE, FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
ANY_TIME = Acceptance(math.inf)


class ItemFields(NamedTuple):
    """One row of a file, cleaned."""

    item_id: str
    title: str | None
    year: int | None
    categories: tuple[str, ...]
    available: bool
    hidden: bool
    extra: Mapping[str, Any]


def read_items(source: str | Path) -> Iterator[ItemFields]:
    """The items of a file.

    Args:
        source: a file that ends in .csv, .tsv, .jsonl, .ndjson or .parquet, or the URL of one. ``item_id`` is required;
            categories are a list, or text with "|" between them.

    Raises:
        DataError: if it cannot be read, or a row is bad; the message names the row.
    """
    places, _ = find(source, FORMATS)
    place = places[0]
    if len(places) > 1 or not isinstance(place, BinaryPlace):
        raise DataError(f"{source} is {len(places):,} files; a catalogue is one")
    with errors_named(place), place.open() as raw:
        for line, row in _rows(place, raw):
            try:
                yield _cleaned(row)
            except BadRowError as bad:
                raise DataError(f"{place} line {line}: {bad}; correct it, nothing was imported") from None


def _rows(place: BinaryPlace, raw: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    name = place.named_format
    if name.endswith(".parquet"):
        first = 1
        for batch in pq.ParquetFile(raw).iter_batches():
            yield from enumerate(batch.to_pylist(), first)
            first += batch.num_rows
        return
    if not name.endswith(FORMATS):
        raise DataError(f"{place} is of an unknown format; expected a name that ends in {', '.join(FORMATS)}")
    try:
        with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            yield from _objects(place, text) if name.endswith(JSON_LINES) else _fields(place, text, name)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{place} cannot be read: {error}; expected UTF-8, quoted where needed") from error


def _objects(place: BinaryPlace, text: io.TextIOWrapper) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, content in enumerate(text, 1):
        if content.strip():
            yield line, _object(place, line, content)


def _fields(place: BinaryPlace, text: io.TextIOWrapper, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    delimiter = next(mark for ending, mark in DELIMITERS.items() if name.endswith(ending))
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    for row in reader:
        if None in row or None in row.values():
            raise DataError(
                f"{place} line {reader.line_num}: expected {len(reader.fieldnames or ())} columns"
            )
        yield reader.line_num, row


def _object(place: BinaryPlace, line: int, content: str) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{place} line {line} is no JSON object; expected one a line")
    return found


def _cleaned(row: Mapping[str, Any]) -> ItemFields:
    item_id = CLEANERS["item_id"]("item_id", row.get("item_id"))
    ANY_TIME.check("item_id", item_id)
    return ItemFields(
        item_id=item_id,
        title=_title(row.get("title")),
        year=_year(row.get("year")),
        categories=_categories(row.get("categories")),
        available=_flag("available", row.get("available"), default=True),
        hidden=_flag("hidden", row.get("hidden"), default=False),
        extra={
            name: _json(name, value)
            for name, value in row.items()
            if name not in KNOWN and value not in (None, "")
        },
    )


def _title(value: Any) -> str | None:
    title: str | None = CLEANERS["event_type"]("title", value)
    if title is not None and "\0" in title:
        raise BadRowError("title holds a zero byte")
    return title


def _year(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        year = int(value)
    except (TypeError, ValueError, OverflowError):  # the last of infinity, as JSON's 1e400 is read
        raise BadRowError("year is not a whole number") from None
    if (
        isinstance(value, bool)
        or not -(2**31) <= year < 2**31
        or (isinstance(value, float) and year != value)
    ):
        raise BadRowError("year is not a whole number")
    return year


def _categories(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(CATEGORY_SEPARATOR)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRowError(
            f"categories are neither a list of text nor text with {CATEGORY_SEPARATOR!r} between them"
        )
    if any("\0" in name for name in value):
        raise BadRowError("categories hold a zero byte")
    return tuple(dict.fromkeys(name.strip() for name in value if name.strip()))


def _flag(name: str, value: Any, *, default: bool) -> bool:
    if value is None or value == "":
        return default
    word = str(value).lower()
    if word not in TRUE | FALSE:
        raise BadRowError(f"{name} is neither true nor false")
    return word in TRUE


def _json(name: str, value: Any) -> Any:
    if isinstance(value, datetime | date | Decimal):
        return str(value)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise BadRowError(f"{name} is nothing that JSON knows") from None
    return value
