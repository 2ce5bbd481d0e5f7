"""Collect a stream of event tables into flat arrays, ids turned into numbers on the way.

24 bytes an event are kept until the matrix is built, so memory follows from the number of events, never from
users x items, and never from how long the ids are.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from recae.data.idmap import IdMap, Positions
from recae.data.numbering import Numbering, joined
from recae.errors import DataError

Events = pd.DataFrame | Iterable[pd.DataFrame]
"""A table, or a stream of tables, with the columns user_id, item_id, [value], [timestamp]."""

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gathered:
    """Events as parallel arrays, shape (n_events,), in the order they came."""

    rows: Positions
    columns: Positions
    values: npt.NDArray[np.float64] | None
    times: Times | None
    users: IdMap
    items: IdMap


def gather(events: Events, *, users: IdMap | None = None, items: IdMap | None = None) -> Gathered:
    """Read all events once.

    Args:
        events: see ``Events``; the same columns in every chunk.
        users: a fixed vocabulary; None numbers the users as they first appear.
        items: the same for items.

    Raises:
        DataError: for missing columns, missing ids, or values that are not finite numbers.
        UnknownIdError: for an id outside a fixed vocabulary.
    """
    by_user, by_item = Numbering("user", users), Numbering("item", items)
    values: list[npt.NDArray[np.float64]] = []
    times: list[Times] = []
    shared: list[str] | None = None
    for chunk in chunks_of(events):
        present = _columns_of(chunk)
        if shared is not None and present != shared:
            raise DataError(f"a chunk has the columns {present}, those before it {shared}; they must agree")
        shared = present
        by_user.add(chunk["user_id"])
        by_item.add(chunk["item_id"])
        if "value" in present:
            values.append(chunk["value"].to_numpy(dtype=np.float64))
        if "timestamp" in present:
            times.append(chunk["timestamp"].to_numpy(dtype=np.int64))
    rows, numbered_users = by_user.finish()
    columns, numbered_items = by_item.finish()
    return Gathered(
        rows=rows,
        columns=columns,
        values=joined(values) if values else None,
        times=joined(times) if times else None,
        users=numbered_users,
        items=numbered_items,
    )


def chunks_of(events: Events) -> Iterable[pd.DataFrame]:
    """A single table as a stream of one."""
    return [events] if isinstance(events, pd.DataFrame) else events


def _columns_of(chunk: pd.DataFrame) -> list[str]:
    missing = {"user_id", "item_id"} - set(chunk.columns)
    if missing:
        raise DataError(f"events need the columns user_id and item_id; found {list(chunk.columns)}")
    present = [name for name in ("user_id", "item_id", "value", "timestamp") if name in chunk.columns]
    if "timestamp" in present and not pd.api.types.is_integer_dtype(chunk["timestamp"]):
        raise DataError(f"timestamp must be integer seconds, found {chunk['timestamp'].dtype}")
    if "value" in present:
        if not pd.api.types.is_numeric_dtype(chunk["value"]):
            raise DataError(f"value must be numbers, found {chunk['value'].dtype}; the readers convert text")
        if not np.isfinite(chunk["value"].to_numpy(dtype=np.float64)).all():
            raise DataError("values must be finite; found NaN or infinity, which the readers quarantine")
    return present
