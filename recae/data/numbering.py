"""Ids to numbers, whole columns at a time: Arrow hashes the strings, Python meets none of them until the end."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recae.data.idmap import IdMap, Positions
from recae.errors import DataError, UnknownIdError

BATCH_ROWS = 2**20
"""Ids that are numbered at once, at least; more if that many are known, so that looking them up stays cheap."""
TEXT = pa.large_string()


class Numbering:
    """Numbers ids as they appear, or looks them up in a fixed vocabulary.

    Args:
        kind: what the ids name, ``"user"`` or ``"item"``; words the messages.
        fixed: the vocabulary; None to number the ids as they come.
    """

    def __init__(self, kind: str, fixed: IdMap | None) -> None:
        self._kind = kind
        self._fixed = fixed
        self._known = pa.array([] if fixed is None else fixed.ids, TEXT)  # id at its number
        self._waiting: list[Any] = []
        self._n_waiting = 0
        self._numbers: list[Positions] = []

    def add(self, ids: "pd.Series[Any]") -> None:
        """Number some more.

        Raises:
            DataError: if some are missing, or are no strings.
            UnknownIdError: for ids outside a fixed vocabulary, at the latest by ``finish``.
        """
        column = self._column(ids)
        if column.null_count:
            raise DataError(f"{column.null_count:,} events have no {self._kind}_id")
        self._waiting.append(column)
        self._n_waiting += len(column)
        if self._n_waiting >= max(BATCH_ROWS, 2 * len(self._known)):
            self._number_waiting()

    def finish(self) -> tuple[Positions, IdMap]:
        """The numbers of all ids in the order they came, shape (n,), and what they stand for."""
        self._number_waiting()
        numbers = joined(self._numbers) if self._numbers else np.empty(0, dtype=np.int32)
        if self._fixed is not None:
            return numbers, self._fixed
        return numbers, IdMap(self._known.to_numpy(zero_copy_only=False).tolist())

    def _column(self, ids: "pd.Series[Any]") -> Any:
        try:
            column = pa.array(ids.astype(object) if isinstance(ids.dtype, pd.CategoricalDtype) else ids)
            is_text = any(is_one(column.type) for is_one in (pa.types.is_string, pa.types.is_large_string))
            if is_text or column.null_count == len(column):
                return column.cast(TEXT)
        except (pa.ArrowException, UnicodeError):  # of several types, or half a surrogate pair
            pass
        IdMap(ids.dropna().unique().tolist())  # names those that are no strings
        raise DataError(f"the column {self._kind}_id holds text that is no Unicode; the readers set it aside")

    def _number_waiting(self) -> None:
        if not self._n_waiting:
            return
        encoded = pa.chunked_array(self._waiting, TEXT).dictionary_encode().combine_chunks()
        self._waiting, self._n_waiting = [], 0
        distinct = encoded.dictionary  # in the order they first appear
        places = pc.index_in(distinct, value_set=self._known)
        new = distinct.filter(pc.is_null(places))
        numbers = places.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        if len(new):
            if self._fixed is not None:
                raise UnknownIdError(self._kind, new.to_pylist(), len(self._fixed))
            numbers[numbers < 0] = np.arange(len(self._known), len(self._known) + len(new), dtype=np.int32)
            self._known = pa.concat_arrays([self._known, new])
        self._numbers.append(numbers[encoded.indices.to_numpy()])


def joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """One array of at least one part, which are given up on the way: the memory of both would be twice as much."""
    whole = np.empty(sum(map(len, parts)), dtype=parts[0].dtype)
    end = len(whole)
    while parts:
        part = parts.pop()
        whole[end - len(part) : end] = part
        end -= len(part)
    return whole
