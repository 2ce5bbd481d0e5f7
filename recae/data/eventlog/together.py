"""What a batch of requests needs of its users' events: asked for many of them at once, where each question takes a journey."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from recae.data.eventlog.events import Recent, Stamp

AHEAD: Final = 64
"""Users whose events are read with those of the one asked for: most of what is remembered need not be read."""


class ReadsUsers(Protocol):
    """The log, as far as requests read it; see ``EventLog``."""

    def recent(self, user_id: str, n: int) -> Recent:
        """The newest ``n`` live events."""

    def stamp(self, user_id: str, n: int) -> Stamp:
        """What is the same for as long as ``recent`` gives the same."""


class AnswersForEach(Protocol):
    """A database that is asked about many users at once."""

    def recent_of_each(self, user_ids: Sequence[str], n: int) -> list[Recent]:
        """The newest ``n`` live events of each user, in their order."""

    def stamp_of_each(self, user_ids: Sequence[str], n: int) -> list[Stamp]:
        """The stamp of each user, in their order."""


class ReadTogether:
    """The log of some users, each read once: what comes in meanwhile, the next batch sees.

    Args:
        database: of the log.
        user_ids: of whom ``recent`` and ``stamp`` will be asked, in about this order, and always with the same ``n``.
    """

    def __init__(self, database: AnswersForEach, user_ids: Iterable[str]) -> None:
        self._database = database
        self._user_ids = list(dict.fromkeys(user_ids))
        self._places = {user_id: place for place, user_id in enumerate(self._user_ids)}
        self._stamps: dict[str, Stamp] = {}
        self._recent: dict[str, Recent] = {}

    def stamp(self, user_id: str, n: int) -> Stamp:
        """Of one user; the first question is asked for all."""
        if not self._stamps:
            self._stamps.update(
                zip(self._user_ids, self._database.stamp_of_each(self._user_ids, n), strict=True)
            )
        return self._stamps[user_id]

    def recent(self, user_id: str, n: int) -> Recent:
        """Of one user, and of the next with them."""
        if user_id not in self._recent:
            place = self._places[user_id]
            users = self._user_ids[place : place + AHEAD]
            self._recent.update(zip(users, self._database.recent_of_each(users, n), strict=True))
        return self._recent[user_id]
