"""Rows of another database as a log: any SELECT whose columns can be mapped to those of events."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from sqlalchemy import Result, create_engine, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from recae.data.blocks import Block, Columns, LogFile
from recae.data.formats import ColumnsBlock
from recae.data.places import Query
from recae.errors import ConfigError, DataError


@contextmanager
def open_query(query: Query) -> Iterator["QueryLog"]:
    """Run a query, and read its rows as they come.

    Raises:
        ConfigError: for a URL of no database, or of one without a driver here.
        DataError: if the database refuses the query.
    """
    try:
        engine = create_engine(query.url)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"--database cannot be opened: {error}; expected a URL as SQLAlchemy reads it"
        ) from error
    try:
        with engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True)
            yield QueryLog(query, streaming.execute(text(query.sql)))
    except SQLAlchemyError as error:
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        shown = engine.url.render_as_string(hide_password=True)
        raise DataError(f"{shown} refuses the query: {said}; correct the query, or its database") from error
    finally:
        engine.dispose()


class QueryLog(LogFile):
    """The answer to a query."""

    def __init__(self, query: Query, result: Result[Any]) -> None:
        self.path = query
        self.names = list(result.keys())
        self._result = result

    def _blocks(self, columns: Columns, rows: int) -> Iterator[Block]:
        places = {own: self.names.index(own) for own in columns.values()}
        first = 1
        for part in self._result.partitions(rows):
            batch = pa.record_batch(
                {own: _array([row[place] for row in part]) for own, place in places.items()}
            )
            yield ColumnsBlock(first + len(part) - 1, batch, first, columns)
            first += len(part)


def _array(values: Sequence[Any]) -> Any:
    """One column; as text where its values have no type in common, which SQLite allows."""
    try:
        return pa.array(values)
    except pa.ArrowException:
        return pa.array([None if value is None else str(value) for value in values])
