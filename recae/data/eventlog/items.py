"""The catalogue as it is kept: items beside the events, in the same database."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, func, select, update

from recae.data.catalogue import Catalogue, Item
from recae.data.eventlog import schema
from recae.data.eventlog.database import Database
from recae.errors import DataError, UnknownIdError

CHUNK_ITEMS = 1_000
MAX_DEPTH = 64
"""Lists and objects within each other in an item's further fields; a few hundred break what writes JSON."""
COLUMNS = [column for column in schema.items.c if column.name != "updated_at"]


@dataclass(frozen=True)
class StoredItem:
    """What is known about one item."""

    item_id: str
    title: str | None = None
    year: int | None = None
    categories: tuple[str, ...] = ()
    available: bool = True
    """False for what cannot be had now."""
    hidden: bool = False
    """True for what must not be recommended."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields, as JSON knows them."""

    def line(self) -> Item:
        """The item as a line of a catalogue, without its further fields."""
        return Item(self.item_id, self.title, self.year, self.categories, self.available, self.hidden)


class StoredItems:
    """Items by id.

    Args:
        database: of the event log, as ``EventLog.database``.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def put(self, items: Iterable[StoredItem]) -> int:
        """Store items, whole: one of an id that is there is replaced. All or none; returns how many were given."""
        given = {item.item_id: item for item in items}  # the last of an id counts
        now = int(self._clock())
        rows = [_row(item, now) for item in given.values()]
        if rows:
            self._database.write(lambda connection: self._store(connection, rows))
        return len(rows)

    def change(self, item_id: str, work: Callable[[StoredItem | None], StoredItem]) -> StoredItem:
        """Read one item and store what ``work`` makes of it, None if there is none, in one transaction."""

        def read_and_store(connection: Connection) -> StoredItem:
            found = connection.execute(
                select(*COLUMNS).where(schema.items.c.item_id == item_id).with_for_update()
            ).one_or_none()
            item = work(None if found is None else _item(found))
            self._store(connection, [_row(item, int(self._clock()))])
            return item

        return self._database.write(read_and_store)

    def get(self, item_id: str) -> StoredItem:
        """One item.

        Raises:
            UnknownIdError: if there is none of this id.
        """
        query = select(*COLUMNS).where(schema.items.c.item_id == item_id)
        with self._database.read() as connection:
            found = connection.execute(query).one_or_none()
            if found is None:
                raise UnknownIdError("item", [item_id], _count(connection))
        return _item(found)

    def remove(self, item_id: str) -> bool:
        """Remove one item; False if there was none of this id. It counts as removed in :meth:`changes` either way."""
        statement = delete(schema.items).where(schema.items.c.item_id == item_id)

        def work(connection: Connection) -> int:
            n = connection.execute(statement).rowcount
            _note(connection, [item_id])
            return n

        return self._database.write(work) > 0

    def changes(self, after: int | None = None) -> "Changes":
        """What was stored or removed since version ``after``; all items for None.

        Costs one look-up where nothing has changed, so that servers can ask again and again.
        """
        changed = schema.item_changes.c
        with self._database.read() as connection:
            version: int = connection.execute(select(schema.item_version.c.last)).scalar_one()
            if after == version:
                return Changes(version, [], [])
            since = changed.version > (after or 0)
            noted = connection.execute(select(changed.item_id).where(since)).scalars().all()
            query = select(*COLUMNS)
            if after is not None:
                query = query.join_from(
                    schema.items, schema.item_changes, schema.items.c.item_id == changed.item_id
                ).where(since)
            stored = [_item(row) for row in connection.execute(query)]
        there = {item.item_id for item in stored}
        return Changes(version, stored, [item_id for item_id in noted if item_id not in there])

    def page(self, n: int, after: str = "", *, available_only: bool = False) -> list[StoredItem]:
        """At most ``n`` items in the order of their ids, from the one after ``after`` on."""
        query = select(*COLUMNS).where(schema.items.c.item_id > after)
        if available_only:
            query = query.where(schema.items.c.available.is_(True), schema.items.c.hidden.is_(False))
        with self._database.read() as connection:
            return [_item(row) for row in connection.execute(query.order_by(schema.items.c.item_id).limit(n))]

    def __iter__(self) -> Iterator[StoredItem]:
        query = select(*COLUMNS).order_by(schema.items.c.item_id)
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=CHUNK_ITEMS).execute(query):
                yield _item(row)

    def __len__(self) -> int:
        with self._database.read() as connection:
            return _count(connection)

    def catalogue(self) -> Catalogue:
        """All items without their further fields, as models and servers take them."""
        return Catalogue(item.line() for item in self)

    def _store(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        _upsert_all(connection, schema.items, rows)
        _note(connection, [row["item_id"] for row in rows])


class Changes(NamedTuple):
    """What happened to the items since an earlier version."""

    version: int
    stored: list[StoredItem]
    """As they are now."""
    removed: list[str]

    def lines(self) -> list[Item]:
        """The same as lines of a catalogue: what was removed is hidden, since a model still knows it."""
        return [item.line() for item in self.stored] + [
            Item(item_id, hidden=True) for item_id in self.removed
        ]


def _note(connection: Connection, item_ids: Iterable[str]) -> None:
    """Give changed items a new version. Its row is locked until the commit, so versions appear in their order."""
    version = connection.execute(
        update(schema.item_version)
        .values(last=schema.item_version.c.last + 1)
        .returning(schema.item_version.c.last)
    ).scalar_one()
    _upsert_all(
        connection, schema.item_changes, [{"item_id": item_id, "version": version} for item_id in item_ids]
    )


def _upsert_all(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment] # the same call in both
    statement = insert(table)
    changed = {name: statement.excluded[name] for name in rows[0] if name != "item_id"}
    # in one order, or two writers would deadlock
    in_order = sorted(rows, key=lambda row: str(row["item_id"]))
    connection.execute(statement.on_conflict_do_update(index_elements=["item_id"], set_=changed), in_order)


def extra_text(extra: Mapping[str, Any]) -> str:
    """An item's further fields as they are stored.

    Raises:
        DataError: if they are no JSON that every reader takes, or nested too deeply.
    """
    level: list[Any] = [extra]
    for _ in range(MAX_DEPTH):
        parts = (each.values() if isinstance(each, Mapping) else each for each in level)
        level = [part for each in parts for part in each if isinstance(part, Mapping | list | tuple)]
    if level:
        raise DataError(f"lists and objects lie more than {MAX_DEPTH} deep in each other; store it flatter")
    try:
        text = json.dumps(dict(extra), ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise DataError("text is valid Unicode; here it holds half a surrogate pair") from None
    except (TypeError, ValueError) as error:
        raise DataError(f"this is no JSON: {error}") from error
    return text


def _row(item: StoredItem, now: int) -> dict[str, Any]:
    try:
        extra = extra_text(item.extra)
    except DataError as error:
        raise DataError(f"item {item.item_id!r} has further fields that cannot be stored: {error}") from error
    for name, text in (("item_id", item.item_id), ("title", item.title)):
        if text is not None and "\0" in text:
            raise DataError(f"item {item.item_id!r} has a zero byte in its {name}; remove it")
    return {
        "item_id": item.item_id,
        "title": item.title,
        "year": item.year,
        "categories": json.dumps(item.categories, ensure_ascii=False),
        "available": item.available,
        "hidden": item.hidden,
        "extra": extra,
        "updated_at": now,
    }


def _item(row: Any) -> StoredItem:
    return StoredItem(
        row.item_id,
        row.title,
        row.year,
        tuple(json.loads(row.categories)),
        bool(row.available),
        bool(row.hidden),
        json.loads(row.extra),
    )


def _count(connection: Connection) -> int:
    found: int = connection.execute(select(func.count()).select_from(schema.items)).scalar_one()
    return found
