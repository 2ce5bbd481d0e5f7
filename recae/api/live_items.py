"""The catalogue as it is now: what the stored items change in the one that a model was trained with."""

import threading

from recae.api.storage import Storage
from recae.data.catalogue import Item
from recae.recommender import Recommender


class LiveItems:
    """Follows the stored items of one process, change by change; no request reads the table.

    A stored line counts in place of the model's own. An item that was removed is hidden, until it is stored again: the
    model still knows it.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lines: dict[str, Item] = {}
        self._removed: set[str] = set()
        self._version: int | None = None
        self._polling = threading.Lock()

    @property
    def is_loaded(self) -> bool:
        """Whether the stored items were read once."""
        return self._version is not None

    def poll(self) -> list[Item]:
        """Read what has changed since the last call, and return those lines; all at the first call.

        Raises:
            EventLogError: if the database fails; then the next call reads the same changes.
        """
        with self._polling:
            changes = self._storage.items.changes(self._version)
            changed = changes.lines()
            self._lines.update((item.item_id, item) for item in changed)
            self._removed -= {item.item_id for item in changes.stored}
            self._removed |= set(changes.removed)
            self._version = changes.version
        return changed

    def is_removed(self, item_id: str) -> bool:
        """Whether an item was removed, and not stored again since."""
        return item_id in self._removed

    def line(self, item_id: str) -> Item | None:
        """The stored line of an item, as of the last :meth:`poll`; None if there is none."""
        return self._lines.get(item_id)

    def over(self, recommender: Recommender) -> Recommender:
        """The recommender with every stored line over its catalogue."""
        lines = self._lines.copy()
        return recommender.with_items(lines.values()) if lines else recommender
