"""Who had to do with what: one sparse matrix, the ids of its rows and columns, and optionally when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

from recae.data.events import Events, Times, gather
from recae.data.idmap import IdMap, Positions
from recae.data.ordering import by_cell, by_time_within
from recae.errors import DataError
from recae.history_rule import Duplicates

Mask = npt.NDArray[np.bool_]
Repeats: TypeAlias = Duplicates | Literal["first"]
"""What several events of a pair become: as ``Duplicates``, or ``first``, the value of the earliest one, among equal times, and
without times, of the one that came first. What goes by time asks for that: nobody knew the later ones then."""
REPEATS: Final = ("first", *get_args(Duplicates))


@dataclass(frozen=True, eq=False)
class Interactions:
    """A users x items matrix with the names of its rows and columns.

    An entry that is stored is an interaction, a stored 0.0 too; what is not stored is unknown.

    Raises:
        DataError: if the parts do not fit together, or a value is NaN or infinite.
    """

    matrix: csr_array
    """Shape (n_users, n_items), float32; int32 indices, sorted, without duplicates."""
    users: IdMap
    """Names of the rows."""
    items: IdMap
    """Names of the columns."""
    times: Times | None = None
    """Seconds since 1970 (UTC) of every entry's latest event, aligned with ``matrix.data``; None if the log had no times."""
    first_times: Times | None = None
    """The same of every entry's first event; None if no pair has events at different times."""

    def users_since(self, second: int) -> npt.NDArray[np.float32]:
        """Users of each item whose latest event with it came from a second on, shape (n_items,).

        Args:
            second: since 1970 (UTC).

        Raises:
            DataError: if there are no times.
        """
        if self.times is None:
            raise DataError("what is popular lately is asked for, and these interactions have no times")
        columns = self.matrix.indices[self.times >= second]
        return np.bincount(columns, minlength=len(self.items)).astype(np.float32)

    def __post_init__(self) -> None:
        matrix = self.matrix
        if matrix.shape != (len(self.users), len(self.items)):
            raise DataError(
                f"the matrix is {matrix.shape[0]:,} x {matrix.shape[1]:,}, "
                f"but there are {len(self.users):,} user ids and {len(self.items):,} item ids"
            )
        types = [str(part.dtype) for part in (matrix.data, matrix.indices, matrix.indptr)]
        if types != ["float32", "int32", "int32"]:
            raise DataError(f"expected float32 values and int32 indices, found {', '.join(types)}")
        if not matrix.has_canonical_format:
            raise DataError(
                "indices must be sorted and without duplicates; call matrix.sum_duplicates() first"
            )
        if not np.isfinite(matrix.data).all():
            raise DataError("values must be finite numbers of float32; found NaN or infinity")
        for times in (self.times, self.first_times):
            if times is not None and times.shape != matrix.data.shape:
                raise DataError(f"{matrix.nnz:,} interactions need as many times, found {times.size:,}")

    @property
    def n_users(self) -> int:
        """Number of rows."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of columns."""
        return len(self.items)

    def __len__(self) -> int:
        return int(self.matrix.nnz)

    def __repr__(self) -> str:
        timed = "with" if self.times is not None else "without"
        return f"Interactions({self.n_users:,} users x {self.n_items:,} items, {len(self):,} entries, {timed} times)"

    @classmethod
    def from_events(
        cls,
        events: Events,
        *,
        duplicates: Repeats = "last",
        users: IdMap | None = None,
        items: IdMap | None = None,
    ) -> "Interactions":
        """Build the matrix from a table or a stream of tables.

        Args:
            events: columns user_id and item_id (strings), optionally value (1.0 where there is no such
                column) and timestamp (integer seconds since 1970); the same columns in every chunk.
            duplicates: what several events of one pair become, see ``Repeats``.
            users: a fixed vocabulary of rows; None numbers the users as they first appear.
            items: the same for columns.

        Raises:
            DataError: for missing columns, ids that are no non-empty strings, NaN or infinite values, or no
                events at all without fixed vocabularies.
            UnknownIdError: for an id outside a fixed vocabulary.
        """
        if duplicates not in REPEATS:
            raise ValueError(f"duplicates is one of {', '.join(REPEATS)}; found {duplicates!r}")
        gathered = gather(events, users=users, items=items)
        if not gathered.rows.size and (users is None or items is None):
            raise DataError("no events: there is nothing to learn from; check the source and the filters")
        return cls.from_positions(
            gathered.rows,
            gathered.columns,
            values=None if duplicates == "count" else gathered.values,
            times=gathered.times,
            users=gathered.users,
            items=gathered.items,
            duplicates=duplicates,
        )

    @classmethod
    def from_arrays(
        cls,
        user_ids: Sequence[str] | npt.NDArray[Any],
        item_ids: Sequence[str] | npt.NDArray[Any],
        values: npt.ArrayLike | None = None,
        times: npt.ArrayLike | None = None,
        *,
        duplicates: Repeats = "last",
        users: IdMap | None = None,
        items: IdMap | None = None,
    ) -> "Interactions":
        """Build the matrix from parallel sequences, one event at each position; see ``from_events``."""
        table: dict[str, Any] = {
            "user_id": user_ids,
            "item_id": item_ids,
            "value": values,
            "timestamp": times,
        }
        given = {name: column for name, column in table.items() if column is not None}
        lengths = {name: len(column) for name, column in given.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"the columns differ in length: {lengths}")
        events = pd.DataFrame(given)
        return cls.from_events(events, duplicates=duplicates, users=users, items=items)

    @classmethod
    def from_positions(
        cls,
        rows: Positions,
        columns: Positions,
        *,
        users: IdMap,
        items: IdMap,
        values: npt.NDArray[Any] | None = None,
        times: Times | None = None,
        duplicates: Repeats = "last",
    ) -> "Interactions":
        """Build the matrix from row and column numbers, one event at each place; see ``from_events``."""
        shape = (len(users), len(items))
        order = by_cell(rows, columns, shape)  # (n_events,)
        is_first = _changes(rows[order]) | _changes(columns[order])  # of its cell
        if times is not None and not is_first.all():
            by_time_within(order, is_first, times)  # the latest event of a cell comes last
        first, last = order[is_first], order[np.append(is_first[1:], np.ones(min(1, order.size), dtype=bool))]

        if duplicates in ("first", "last"):
            chosen = first if duplicates == "first" else last
            data = np.ones(chosen.size, dtype=np.float32) if values is None else values[chosen]
        else:
            ordered = np.ones(order.size) if values is None else values[order]
            combine = np.maximum if duplicates == "max" else np.add  # a count is a sum of ones
            data = combine.reduceat(ordered, np.flatnonzero(is_first)) if order.size else ordered
        _refuse_overflow(data, rows[last], columns[last], users, items, duplicates)

        indptr = np.zeros(shape[0] + 1, dtype=np.int32)
        np.cumsum(np.bincount(rows[last], minlength=shape[0]), out=indptr[1:])
        with np.errstate(over="ignore"):  # too large for float32 becomes infinity
            values_ = data.astype(np.float32, copy=False)
        matrix = csr_array((values_, columns[last], indptr), shape=shape)
        if times is None:
            return cls(matrix, users, items)
        latest, firsts = times[last], times[first]
        return cls(matrix, users, items, latest, None if (latest == firsts).all() else firsts)

    def to_frame(self) -> pd.DataFrame:
        """One row an entry, by user then item: user_id, item_id, value and, where known, timestamp."""
        rows = np.repeat(np.arange(self.n_users), np.diff(self.matrix.indptr))
        table: dict[str, Any] = {
            "user_id": pd.Series(self.users.ids[rows], dtype="str"),
            "item_id": pd.Series(self.items.ids[self.matrix.indices], dtype="str"),
            "value": self.matrix.data.astype(np.float64),
        }
        if self.times is not None:
            table["timestamp"] = self.times
        return pd.DataFrame(table)

    def by_first_event(self) -> "Interactions":
        """The same with the first event's time in place of the latest one's; the values stay what they are."""
        if self.first_times is None:
            return self
        return Interactions(self.matrix, self.users, self.items, self.first_times)

    def select_users(self, positions: npt.ArrayLike) -> "Interactions":
        """Only these rows, in this order; the columns stay as they are."""
        chosen = np.asarray(positions, dtype=np.int32)
        return self._taken(self._entries()[chosen], IdMap(self.users.ids[chosen]), self.items)

    def restrict_items(self, positions: npt.ArrayLike) -> "Interactions":
        """Only these columns, in this order; users left without any entry stay, as empty rows."""
        chosen = np.asarray(positions, dtype=np.int32)
        return self._taken(self._entries()[:, chosen], self.users, IdMap(self.items.ids[chosen]))

    def where(self, mask: Mask) -> "Interactions":
        """Only the entries where ``mask``, aligned with ``matrix.data``, is True; users and items stay."""
        kept = np.flatnonzero(mask)
        indptr = np.searchsorted(kept, self.matrix.indptr).astype(np.int32)
        parts = (self.matrix.data[kept], self.matrix.indices[kept], indptr)
        matrix = csr_array(parts, shape=self.matrix.shape)
        return Interactions(matrix, self.users, self.items, *self._times_at(kept))

    def _entries(self) -> csr_array:
        """The same pattern, holding each entry's place in ``matrix.data``: slicing it moves times along."""
        places = np.arange(self.matrix.nnz)
        return csr_array((places, self.matrix.indices, self.matrix.indptr), shape=self.matrix.shape)

    def _taken(self, entries: csr_array, users: IdMap, items: IdMap) -> "Interactions":
        entries.sort_indices()
        parts = (
            self.matrix.data[entries.data],
            entries.indices.astype(np.int32, copy=False),
            entries.indptr.astype(np.int32, copy=False),
        )
        return Interactions(
            csr_array(parts, shape=entries.shape), users, items, *self._times_at(entries.data)
        )

    def _times_at(self, places: npt.NDArray[np.integer[Any]]) -> tuple[Times | None, Times | None]:
        """``times`` and ``first_times`` of the entries at these places of ``matrix.data``."""
        latest = None if self.times is None else self.times[places]
        return latest, None if self.first_times is None else self.first_times[places]


def _refuse_overflow(
    data: npt.NDArray[Any],
    rows: Positions,
    columns: Positions,
    users: IdMap,
    items: IdMap,
    duplicates: Repeats,
) -> None:
    """Name the first of the entries that float32 cannot hold."""
    too_large = np.flatnonzero(np.abs(data) > np.finfo(np.float32).max)
    if not too_large.size:
        return
    user, item = users[rows[too_large[0]]], items[columns[too_large[0]]]
    raise DataError(
        f"{too_large.size:,} value(s) {'add up to' if duplicates == 'sum' else 'are'} more than float32 can hold (3.4e+38), "
        f"the first of user {user!r} with item {item!r}; remove such events, divide all values by the same number, or take "
        "the count of a pair's events in place of their values"
    )


def _changes(values: Positions) -> Mask:
    """Where a value differs from the one before it; the first does, shape (n,)."""
    return np.append(np.ones(min(1, values.size), dtype=bool), values[1:] != values[:-1])
