"""Logs as lines of text: CSV, and JSON objects.

One line is one row. A line break inside quotes makes bad rows, rather than letting one stray quote swallow the
rest of a log.
"""

import csv
import io
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.json

from recae.data.blocks import Block, Columns, LogFile, Row
from recae.data.columns import Column, DoubtfulError
from recae.data.places import Place
from recae.data.rows import BadRowError
from recae.errors import DataError

BOM = b"\xef\xbb\xbf"
JSON_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), type(None): pa.string()}
"""Type of a column's first value -> what the whole column should be; what is null at first is text most often."""
LINES_FOR_COLUMNS = 1_000
"""A JSON lines file has the columns that its first lines have."""


@dataclass
class TextBlock(Block):
    """Lines of a text file."""

    position: int
    lines: list[bytes]
    first: int
    """Number of the first line."""

    @property
    def size(self) -> int:
        return len(self.lines)

    def part(self, start: int, stop: int) -> "TextBlock":
        return replace(self, lines=self.lines[start:stop], first=self.first + start)

    def text(self) -> bytes:
        """All lines as one; raises ``DoubtfulError`` if they are no UTF-8 or hold a lone carriage return."""
        text = b"".join(self.lines)
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise DoubtfulError from error
        if text.count(b"\r") != text.count(b"\r\n"):  # Arrow would end a row there
            raise DoubtfulError
        return text

    def check_count(self, table: pa.Table) -> None:
        """Raise ``DoubtfulError`` unless every line that is not empty became one row."""
        if table.num_rows != len(self.lines) - self.lines.count(b"\n") - self.lines.count(b"\r\n"):
            raise DoubtfulError

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Lines that are not empty, without their ends."""
        for number, line in enumerate(self.lines, start=self.first):
            stripped = line.rstrip(b"\r\n")
            if stripped:
                yield number, stripped

    def rows(self) -> Iterator[Row]:
        for number, line in self.numbered():
            try:
                text = line.decode()
            except UnicodeDecodeError:
                yield Row(number, line.decode(errors="backslashreplace"), {}, "not UTF-8")
                continue
            try:
                yield Row(number, text, self.parsed(text))
            except BadRowError as bad:
                yield Row(number, text, {}, str(bad))

    @abstractmethod
    def parsed(self, line: str) -> Mapping[str, Any]:
        """The line's values by canonical name. Raises ``BadRowError``."""


class TextLog(LogFile):
    """Lines of text, the last of which may be half written yet."""

    _leave_unfinished: bool

    def _text_blocks(
        self, lines: Iterator[bytes], rows: int, first: int
    ) -> Iterator[tuple[int, list[bytes]]]:
        """Number of the first line, and lines, up to the first without an end: there the file ended when it was read.

        What has come behind it since would be taken for a line of its own.
        """
        while block := list(islice(lines, rows)):
            last = next((place for place, line in enumerate(block) if not line.endswith(b"\n")), None)
            if last is not None:
                self.is_unfinished = self._leave_unfinished and self.path.is_being_written
                block = block[: last if self.is_unfinished else last + 1]
            if block:
                yield first, block
            if last is not None:
                return
            first += len(block)


class CsvLog(TextLog):
    """Comma or tab separated, with a header."""

    def __init__(
        self, path: Place, raw: BinaryIO, lines: BinaryIO, delimiter: str, *, leave_unfinished: bool
    ) -> None:
        self.path, self._raw, self._lines, self._delimiter = path, raw, lines, delimiter
        self._leave_unfinished = leave_unfinished
        header = lines.readline().removeprefix(BOM)
        if not header.strip():
            raise DataError(f"{path} is empty; expected a header line with column names")
        try:
            self.names = next(csv.reader([header.decode()], delimiter=delimiter, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"{path} has a header that cannot be read ({error}); expected names in UTF-8"
            ) from error
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise DataError(f"{path} has several columns named {', '.join(twice)}; names must differ")

    def _blocks(self, columns: Columns, rows: int) -> Iterator[Block]:
        places = {name: self.names.index(own) for name, own in columns.items()}
        for first, lines in self._text_blocks(self._lines, rows, first=2):
            yield CsvBlock(self._raw.tell(), lines, first, places, len(self.names), self._delimiter)


@dataclass
class CsvBlock(TextBlock):
    """Lines of a CSV file."""

    places: dict[str, int]
    """Canonical name -> number of the field."""
    width: int
    """How many fields a row has."""
    delimiter: str

    def columns(self) -> Mapping[str, Column]:
        wanted = {name: str(place) for name, place in self.places.items()}
        text = self.text()
        table = pyarrow.csv.read_csv(
            io.BytesIO(text),
            pyarrow.csv.ReadOptions(
                use_threads=False, block_size=len(text) + 1, column_names=list(map(str, range(self.width)))
            ),
            pyarrow.csv.ParseOptions(delimiter=self.delimiter),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(wanted.values(), pa.string()),
                include_columns=list(wanted.values()),
                strings_can_be_null=False,
            ),
        )
        self.check_count(table)
        return {name: table.column(place) for name, place in wanted.items()}

    def parsed(self, line: str) -> Mapping[str, Any]:
        try:
            fields = next(csv.reader([line], delimiter=self.delimiter, strict=True))
        except csv.Error:
            raise BadRowError("broken quotes") from None
        if len(fields) != self.width:
            raise BadRowError(f"too {'few' if len(fields) < self.width else 'many'} columns")
        return {name: fields[place] for name, place in self.places.items()}


class JsonLog(TextLog):
    """One JSON object a line."""

    def __init__(self, path: Place, raw: BinaryIO, lines: BinaryIO, *, leave_unfinished: bool) -> None:
        self.path, self._raw, self._leave_unfinished = path, raw, leave_unfinished
        self._lines: Iterator[bytes] = lines
        head = list(islice(lines, LINES_FOR_COLUMNS))
        if not any(line.strip() for line in head):
            raise DataError(f"{path} is empty; expected one JSON object a line")
        head[0] = head[0].removeprefix(BOM)
        self._head = head
        objects = filter(None, map(_json_object, head))
        self.names = list(dict.fromkeys(name for found in objects for name in found))

    def _blocks(self, columns: Columns, rows: int) -> Iterator[Block]:
        for first, lines in self._text_blocks(self._all_lines(), rows, first=1):
            yield JsonBlock(self._raw.tell(), lines, first, columns)

    def _all_lines(self) -> Iterator[bytes]:
        yield from self._head
        yield from self._lines


@dataclass
class JsonBlock(TextBlock):
    """Lines of a JSON lines file."""

    own: Columns

    def columns(self) -> Mapping[str, Column]:
        text = self.text()
        example = _json_object(self.lines[0]) or {}
        kinds = {own: JSON_TYPES.get(type(example.get(own))) for own in self.own.values()}
        if None in kinds.values():
            raise DoubtfulError
        kinds |= {
            own: pa.float64() for own, kind in kinds.items() if kind == pa.int64() and self._is_number(own)
        }
        table = pyarrow.json.read_json(
            io.BytesIO(text),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pyarrow.json.ParseOptions(
                explicit_schema=pa.schema(kinds.items()), unexpected_field_behavior="ignore"
            ),
        )
        self.check_count(table)
        return {name: table.column(own) for name, own in self.own.items()}

    def _is_number(self, own: str) -> bool:
        return own in {self.own.get("value"), self.own.get("timestamp")}

    def parsed(self, line: str) -> Mapping[str, Any]:
        found = _json_object(line)
        if found is None:
            raise BadRowError("not a JSON object")
        return {name: found.get(own) for name, own in self.own.items()}


def _json_object(line: str | bytes) -> dict[str, Any] | None:
    """The object on the line; None if it is something else, or no JSON."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
