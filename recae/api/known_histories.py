"""Histories that were read from the event log once, for as long as the log says that nothing has come or gone."""

import threading
from collections import OrderedDict
from typing import Generic, TypeAlias, TypeVar

from recae.data.eventlog.events import Stamp

Place: TypeAlias = tuple[str, str]
"""Version of the model, and user."""
T = TypeVar("T")


class KnownHistories(Generic[T]):
    """What was made of users' events, the least recently used forgotten first. Safe between threads.

    Args:
        most: users at a time, of all models together; 0 remembers nothing.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[Place, tuple[Stamp, T]] = OrderedDict()

    def __contains__(self, place: Place) -> bool:
        """Whether something was kept, under whatever stamp."""
        return place in self._known

    def find(self, place: Place, stamp: Stamp) -> T | None:
        """What was kept, if it was under the same stamp."""
        with self._lock:
            found = self._known.get(place)
            if found is None or found[0] != stamp:
                return None
            self._known.move_to_end(place)
            return found[1]

    def keep(self, place: Place, stamp: Stamp, history: T) -> None:
        """Remember a history.

        Args:
            place: whose it is.
            stamp: of the events that it was made of.
            history: shared from now on, and not to be changed.
        """
        with self._lock:
            self._known[place] = stamp, history
            self._known.move_to_end(place)
            while len(self._known) > self.most:
                self._known.popitem(last=False)
