"""What is known about items beside who used them: title, year, categories, and whether they may be shown."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from recae.data.idmap import IdMap
from recae.errors import DataError

SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("categories", pa.list_(pa.string())),
        pa.field("available", pa.bool_()),
        pa.field("hidden", pa.bool_()),
    ]
)
"""The Parquet file of a catalogue."""

TRAILING_YEAR = re.compile(r"\s*\(\d{4}\)$")
TRAILING_ARTICLE = re.compile(r"^(.*), (the|an?|les?|la|l'|der|die|das|el|los|las|il)$")


class Item(NamedTuple):
    """One line of a catalogue.

    What is not ``available`` is left out unless a request asks for it too; what is ``hidden`` is never recommended.
    """

    item_id: str
    title: str | None = None
    year: int | None = None
    categories: tuple[str, ...] = ()
    available: bool = True
    hidden: bool = False


class Catalogue:
    """Items by id, in a fixed order.

    Args:
        items: each id once.

    Raises:
        DataError: for empty or repeated ids.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = list(items)
        self._ids = IdMap(item.item_id for item in self._items)

    @classmethod
    def read(cls, path: str | Path) -> "Catalogue":
        """Read a Parquet file with the columns of ``SCHEMA``; all but item_id are optional.

        Without the columns available and hidden, or where they are empty, an item is available and not hidden.

        Raises:
            DataError: if there is no such file, it is no Parquet file, or its columns are others.
        """
        if not Path(path).is_file():
            raise DataError(f"no catalogue at {path}; expected a Parquet file")
        try:
            table = pq.read_table(path)
            columns = {
                field.name: table.column(field.name).cast(field.type).to_pylist()
                for field in SCHEMA
                if field.name in table.column_names
            }
        except pa.ArrowException as error:
            raise DataError(
                f"{path} is no catalogue: {error}; expected Parquet with {SCHEMA.names}"
            ) from error
        if "item_id" not in columns:
            raise DataError(f"{path} has the columns {table.column_names}; a catalogue needs item_id")
        nothing = [None] * table.num_rows
        rows = zip(*(columns.get(name, nothing) for name in SCHEMA.names), strict=True)
        return cls(
            Item(id_, title, year, tuple(named or ()), available is not False, hidden is True)
            for id_, title, year, named, available, hidden in rows
        )

    def write(self, destination: str | Path | BinaryIO) -> None:
        """Write the Parquet file that ``read`` reads."""
        rows = [item._asdict() for item in self._items]
        target = str(destination) if isinstance(destination, Path) else destination
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), target, compression="zstd")

    def item(self, item_id: str) -> Item:
        """The catalogue's line; for an id it does not hold, one without title and categories."""
        return self._items[self._ids.position(item_id)] if item_id in self._ids else Item(item_id)

    def title(self, item_id: str) -> str | None:
        """The title to show, with its year: ``Toy Story (1995)``; None if unknown."""
        return shown_title(self.item(item_id))

    def categories(self, item_id: str) -> tuple[str, ...]:
        """The item's categories; none for an unknown id."""
        return self.item(item_id).categories

    def find_title(self, title: str) -> list[str]:
        """Ids of the items with this title, with or without its year, in whatever case; empty if there is none.

        ``The Matrix`` finds ``Matrix, The`` too.
        """
        return list(self._by_title.get(_folded(title), ()))

    def suggest_titles(self, title: str, n: int = 3) -> list[str]:
        """Titles that look like ``title``, the likest first: for "did you mean"."""
        close = get_close_matches(_folded(title), self._by_title, n=4 * n)
        found = dict.fromkeys(self.title(self._by_title[key][0]) for key in close)
        return [shown for shown in found if shown][:n]

    def select(self, item_ids: Sequence[str]) -> "Catalogue":
        """The lines of these ids, in this order; ids it does not hold get an empty line."""
        return Catalogue(map(self.item, item_ids))

    @cached_property
    def _by_title(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = {}
        for item in self._items:
            if item.title is not None:
                for key in {_folded(item.title), _folded(shown_title(item) or "")}:
                    index.setdefault(key, []).append(item.item_id)
        return index

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._ids

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Catalogue) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # compared by value, as lists are

    def __repr__(self) -> str:
        return f"Catalogue({len(self):,} items)"


def shown_title(item: Item) -> str | None:
    """The title with its year, ``Toy Story (1995)``; None if there is none."""
    return item.title if item.title is None or item.year is None else f"{item.title} ({item.year})"


def _folded(title: str) -> str:
    """One spelling for all ways to write a title; its year is kept."""
    words = " ".join(title.casefold().split())
    year = TRAILING_YEAR.search(words)
    bare = words[: year.start()] if year else words
    inverted = TRAILING_ARTICLE.match(bare)
    if inverted:
        bare = f"{inverted[2]} {inverted[1]}"
    return bare + (year[0] if year else "")
