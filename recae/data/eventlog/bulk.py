"""From the readers' tables to rows with keys: whole columns at a time, for hundreds of thousands of events a second."""

from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recae.data.eventlog.events import (
    DEFAULT_TYPE,
    DEFAULT_VALUE,
    DIGEST_BYTES,
    KEY_BYTES,
    SEPARATOR,
    TIME_BYTES,
    TIME_OFFSET,
    UNTIMED,
    Row,
    id_key,
)


def rows_of(table: pa.Table, now: float) -> list[Row]:
    """The table's events with their keys, as ``events.keyed`` makes them one at a time.

    Args:
        table: columns as in ``recae.data.rows.COLUMNS``.
        now: the time of events if the table has none; their keys leave it out, so the same file read tomorrow holds
            the same events.
    """
    n = table.num_rows
    if not n:
        return []
    is_timed = "timestamp" in table.column_names
    times = _column(table, "timestamp", pa.scalar(int(now), pa.int64()))
    types = _column(table, "event_type", pa.scalar(DEFAULT_TYPE))
    columns = {
        "user_id": _column(table, "user_id", pa.scalar(None, pa.string())),
        "item_id": _column(table, "item_id", pa.scalar(None, pa.string())),
        "event_type": types.fill_null(DEFAULT_TYPE),
        "value": _column(table, "value", pa.scalar(DEFAULT_VALUE)),
        "timestamp": times,
        "event_id": _column(table, "event_id", pa.scalar(None, pa.string())),
        "recommendation_id": _column(table, "recommendation_id", pa.scalar(None, pa.string())),
    }
    # 0 in the key where the time is that of arrival
    keyed_times = times if is_timed else pa.array(np.zeros(n, dtype=np.int64))
    if columns["event_id"].null_count < n:
        is_untimed = pc.starts_with(columns["event_id"], UNTIMED).fill_null(False)
        if pc.any(is_untimed).as_py():
            columns["event_id"] = pc.if_else(is_untimed, pa.scalar(None, pa.string()), columns["event_id"])
            keyed_times = pc.if_else(is_untimed, pa.scalar(0, pa.int64()), keyed_times)
    lists = {name: _list(column) for name, column in columns.items()}
    keys = _keys(columns, lists["value"], keyed_times)
    if columns["event_id"].null_count < n:
        keys = [
            key if event_id is None else id_key(event_id)
            for key, event_id in zip(keys, lists["event_id"], strict=True)
        ]
    return list(zip(keys, *lists.values(), strict=True))


def _keys(columns: dict[str, Any], values: list[float], times: Any) -> list[bytes]:
    """The keys of events without an id, see events.py."""
    texts = pc.binary_join_element_wise(
        columns["user_id"],
        columns["item_id"],
        columns["event_type"],
        pa.array(map(repr, values), pa.string()),  # as Python spells them, not Arrow
        times.cast(pa.string()),
        columns["recommendation_id"].fill_null(""),
        SEPARATOR,
    )
    digests = b"".join(
        [blake2b(text, digest_size=DIGEST_BYTES).digest() for text in _list(texts.cast(pa.binary()))]
    )
    keys = np.empty((len(values), KEY_BYTES), dtype=np.uint8)
    big_endian = (times.to_numpy() + TIME_OFFSET).astype(">i8")
    keys[:, :TIME_BYTES] = big_endian.view(np.uint8).reshape(-1, 8)[:, -TIME_BYTES:]
    keys[:, TIME_BYTES:] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    listed: list[bytes] = keys.view(f"V{KEY_BYTES}")[:, 0].tolist()
    return listed


def _column(table: pa.Table, name: str, default: pa.Scalar) -> Any:
    if name not in table.column_names:
        return pa.repeat(default, table.num_rows)
    return pa.concat_arrays(table.column(name).chunks)


def _list(column: Any) -> list[Any]:
    # by way of numpy: Arrow's own to_pylist makes one scalar object a value
    listed: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return listed
