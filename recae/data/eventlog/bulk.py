"""From the readers' tables to rows with keys: whole columns at a time, for hundreds of thousands of events a second."""

from itertools import repeat
from typing import Any

import pyarrow as pa

from recae.data.eventlog.events import DEFAULT_TYPE, DEFAULT_VALUE, Row, fields_key, keyed


def rows_of(table: pa.Table, now: float) -> list[Row]:
    """The table's events with their keys.

    Args:
        table: columns as in ``recae.data.rows.COLUMNS``.
        now: the time of events if the table has none; their keys leave it out, so the same file read tomorrow holds
            the same events.
    """
    values = _column(table, "value", DEFAULT_VALUE)
    types = [kind or DEFAULT_TYPE for kind in _column(table, "event_type", DEFAULT_TYPE)]
    users, items = _column(table, "user_id", None), _column(table, "item_id", None)
    ids = _column(table, "event_id", None)
    recommendations = _column(table, "recommendation_id", None)
    if "timestamp" in table.column_names:
        times = _column(table, "timestamp", None)
        return list(map(keyed, users, items, types, values, times, ids, recommendations))
    return [
        keyed(*fields) if fields[5] is not None else _without_time(fields)
        for fields in zip(users, items, types, values, repeat(int(now)), ids, recommendations, strict=False)
    ]


def _without_time(fields: tuple[Any, ...]) -> Row:
    user_id, item_id, event_type, value, _, _, recommendation_id = fields
    key = fields_key(user_id, item_id, event_type, value, 0, recommendation_id)
    return (key, *fields)


def _column(table: pa.Table, name: str, default: Any) -> list[Any]:
    if name not in table.column_names:
        return [default] * table.num_rows
    # by way of numpy: Arrow's own to_pylist makes one scalar object a value
    column: list[Any] = table.column(name).to_numpy(zero_copy_only=False).tolist()
    return column
