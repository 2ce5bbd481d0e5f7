"""Histories that were read from the event log once, for as long as the log says that nothing has come or gone."""

import threading
from collections import OrderedDict
from typing import Generic, TypeAlias, TypeVar

from recae.data.eventlog.events import Stamp

Place: TypeAlias = tuple[str, str]
"""Version of the model, and user."""
T = TypeVar("T")
LONGEST_KNOWN = 1_000
"""Items of a history that is remembered: beyond, ten thousand of them take hundreds of megabytes."""


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


class LongHistories:
    """Users whose history is too long for the loop that answers short requests, those not met for longest forgotten first.

    Args:
        most: users at a time.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._users: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, user_id: str) -> bool:
        """Whether the user's history was long when it was last read."""
        return user_id in self._users

    def note(self, user_id: str, *, is_long: bool) -> None:
        """Remember how a history was when it was read."""
        if not is_long and user_id not in self._users:
            return  # as nearly all are
        with self._lock:
            self._users.pop(user_id, None)
            if is_long:
                self._users[user_id] = None
                while len(self._users) > self._most:
                    self._users.popitem(last=False)
