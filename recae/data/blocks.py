"""What every log format has in common: a file is read as blocks of rows, and a block can be had in two ways.

As whole columns, parsed by Arrow, which is fast; or row by row with line numbers, where a row may be bad. The size
of a block is bounded, so a file of any length passes through little memory.
"""

import lzma
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa

from recae.data.columns import Column
from recae.data.places import Place
from recae.errors import DataError

Columns = Mapping[str, str]
"""Canonical column name -> the name in the file."""


class Row(NamedTuple):
    """One row of the slow way."""

    line: int
    """Its place in the file, from 1: a line of text, header included, or a row of Parquet."""
    raw: Any
    """What to show of it."""
    values: Mapping[str, Any]
    """Canonical name -> value; empty if ``reason`` is given."""
    reason: str | None = None
    """Why it cannot even be taken apart."""


class Block(ABC):
    """Some successive rows of one file."""

    position: int
    """Bytes of the file read so far, about; for progress."""
    first: int
    """Number of the first row, as in ``Row.line``."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of rows; empty lines count."""

    @property
    def last(self) -> int:
        """Number of the last row."""
        return self.first + self.size - 1

    @abstractmethod
    def part(self, start: int, stop: int) -> "Block":
        """The block of the rows from ``start`` up to ``stop``."""

    @abstractmethod
    def columns(self) -> Mapping[str, Column]:
        """Canonical name -> column. Raises ``DoubtfulError`` or an Arrow error if a row may be bad."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """The same rows one at a time, bad ones included."""


class LogFile(ABC):
    """One file of a log, open for reading."""

    path: Place
    names: list[str]
    """Its own column names."""
    is_unfinished: bool = False
    """Whether a last line was left out that is still being written; known after the last block."""

    def blocks(self, columns: Columns, rows: int) -> Iterator[Block]:
        """All blocks in order, each of at most ``rows`` rows, reading only ``columns``.

        Raises:
            DataError: if the file turns out to be damaged or truncated.
        """
        with errors_named(self.path):
            yield from self._blocks(columns, rows)

    @abstractmethod
    def _blocks(self, columns: Columns, rows: int) -> Iterator[Block]:
        """The blocks; errors of the libraries may pass."""


@contextmanager
def errors_named(path: Place) -> Iterator[None]:
    """What reading libraries raise, as one error that names the file."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read: {error}; is it complete, and of the format its name says?"
        ) from error
