"""External ids and the rows or columns they stand for.

Ids are strings everywhere outside matrices: a 7 that is an int in one place and a str in another turns every
metric into a silent zero, so nothing but strings is let in here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from recae.errors import DataError, UnknownIdError, name_some

Positions = npt.NDArray[np.int32]


class IdMap:
    """An immutable, ordered vocabulary: id ``ids[p]`` stands for row or column ``p``.

    Args:
        ids: distinct, non-empty strings; their order is kept.

    Raises:
        DataError: for an id that is no string, is empty, or comes twice.
    """

    __slots__ = ("_ids", "_positions")

    def __init__(self, ids: Iterable[str]) -> None:
        listed = _listed(ids)
        # by type first: most vocabularies are plain strings, and this does not look at each in Python
        if set(map(type, listed)) - {str} or "" in listed:
            wrong = [value for value in listed if not isinstance(value, str) or not value]
            if wrong:
                raise DataError(
                    f"an id is a non-empty string; found {name_some(wrong)} ({type(wrong[0]).__name__}); "
                    "turn ids into strings first, integers by str(7)"
                )
            listed = list(map(str, listed))
        self._positions = dict(zip(listed, range(len(listed)), strict=True))
        if len(self._positions) < len(listed):
            twice = [id_ for id_, times in Counter(listed).items() if times > 1]
            raise DataError(f"ids must be distinct; these come more than once: {name_some(twice)}")
        self._ids = np.empty(len(listed), dtype=object)
        self._ids[:] = listed
        self._ids.flags.writeable = False

    @classmethod
    def of_range(cls, n: int) -> "IdMap":
        """The ids "0" to "n-1", for data that comes as bare matrices."""
        return cls(map(str, range(n)))

    @property
    def ids(self) -> npt.NDArray[Any]:
        """All ids as a read-only object array, shape (n,); index it with an array of positions."""
        return self._ids

    def position(self, id_: str, *, kind: str = "item") -> int:
        """The row or column of one id.

        Raises:
            UnknownIdError: if it is not in the vocabulary; ``kind`` words the message.
        """
        try:
            return self._positions[id_]
        except KeyError:
            raise UnknownIdError(kind, [id_], len(self)) from None

    def positions(self, ids: Iterable[str], *, kind: str = "item") -> Positions:
        """Rows or columns of ``ids``, in their order, shape (n,).

        Raises:
            UnknownIdError: naming every id outside the vocabulary.
        """
        found, unknown = self.known(ids)
        if unknown:
            raise UnknownIdError(kind, unknown, len(self))
        return found

    def known(self, ids: Iterable[str]) -> tuple[Positions, list[str]]:
        """Positions of the ids that are known, in order, and the list of those that are not."""
        listed = _listed(ids)
        found = [self._positions.get(id_, -1) for id_ in listed]
        positions = np.array(found, dtype=np.int32)
        if (positions >= 0).all():
            return positions, []
        return positions[positions >= 0], [id_ for id_, p in zip(listed, found, strict=True) if p < 0]

    def find(self, ids: Iterable[str]) -> Positions:
        """Positions of the ids, -1 for each that is not in the vocabulary, shape (n,)."""
        listed = _listed(ids)
        return np.fromiter(map(self._positions.get, listed, repeat(-1)), dtype=np.int32, count=len(listed))

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._positions

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __getitem__(self, position: int) -> str:
        # A position of -1 is somebody's "not found", never a wish for the last id.
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} is outside 0 to {len(self) - 1}")
        return str(self._ids[position])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdMap):
            return NotImplemented
        return self is other or (len(self) == len(other) and bool((self._ids == other._ids).all()))

    def __hash__(self) -> int:
        return hash(tuple(self._positions))

    def __repr__(self) -> str:
        return (
            f"IdMap({len(self):,} ids: {name_some(self._positions)})" if self._ids.size else "IdMap(no ids)"
        )


def _listed(ids: Iterable[str]) -> list[str]:
    if isinstance(ids, str):
        raise TypeError(f"expected several ids, found the single string {ids!r}; write [{ids!r}]")
    return list(ids)
