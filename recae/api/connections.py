"""How many connections each serving process has, in memory that all of them see: who has more leaves the next to others.

Of its connections a process counts apart those that it has answered on lately. Who has more of these than another, and more of
all, is to give some up, so that their clients come again to the other; who cannot answer, or hangs, gets none that way.
"""

import mmap
from typing import Final, NamedTuple

SLOTS: Final = 1_024
FIELDS: Final = 3
BYTES: Final = 8
FRESH_S: Final = 2.5
"""What a process told of its work is believed for so long; one that lives tells it each second."""


class Share(NamedTuple):
    """What a process has."""

    n_open: int
    n_busy: int
    """Of these, answered on since it last looked."""


class Connections:
    """Counts of processes that were forked from one. Made before the fork.

    A process is named by its number among all that were ever started; two that live at once are no 1,024 apart.
    """

    def __init__(self) -> None:
        size = SLOTS * BYTES
        memory = memoryview(mmap.mmap(-1, FIELDS * size))
        self._counts = memory[:size].cast("Q")  # 0: there is no such process
        self._busy = memory[size : 2 * size].cast("Q")
        self._told = memory[2 * size :].cast("d")  # monotonic time, the same in all processes; 0: never

    def tell(self, process: int, count: int) -> None:
        """Say how many connections a process has, from 0."""
        self._counts[process % SLOTS] = count + 1

    def tell_busy(self, process: int, n_busy: int, now: float) -> None:
        """Say on how many a process has answered lately: that it can answer, and is no worse place than others.

        Args:
            process: its number.
            n_busy: from 0.
            now: monotonic time.
        """
        self._busy[process % SLOTS] = n_busy
        self._told[process % SLOTS] = now

    def forget(self, process: int) -> None:
        """A process has ended."""
        self._counts[process % SLOTS] = 0
        self._told[process % SLOTS] = 0.0

    def fewest(self) -> int:
        """The lowest count of all processes that have told theirs; 0 if none has."""
        return min((count for count in self._counts.tolist() if count), default=1) - 1

    def spare(self, process: int, now: float) -> int:
        """How many of its busy connections another process should have: half of what it has more than the least busy one.

        0 if others have as many connections: a client that was sent away would come back.

        Args:
            process: its number; it has told both counts.
            now: monotonic time.
        """
        own = process % SLOTS
        told = [place for place, when in enumerate(self._told.tolist()) if when and now - when <= FRESH_S]
        shares = [Share(self._counts[place] - 1, self._busy[place]) for place in told if self._counts[place]]
        if own not in told or not shares:
            return 0
        n_open, n_busy = self._counts[own] - 1, self._busy[own]
        more_busy = n_busy - min(share.n_busy for share in shares)
        more_open = n_open - min(share.n_open for share in shares)
        return max(0, min(more_busy, more_open)) // 2
