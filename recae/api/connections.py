"""How many connections each serving process has, in memory that all of them see: who has more leaves the next to others."""

import mmap
from typing import Final

SLOTS: Final = 1_024
COUNT_BYTES: Final = 4


class Connections:
    """Counts of processes that were forked from one. Made before the fork."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, SLOTS * COUNT_BYTES)).cast("I")  # 0: there is no such process

    def tell(self, process: int, count: int) -> None:
        """Say how many a process has.

        Args:
            process: its number among all that were ever started; two that live at once are no 1,024 apart.
            count: from 0.
        """
        self._counts[process % SLOTS] = count + 1

    def forget(self, process: int) -> None:
        """A process has ended."""
        self._counts[process % SLOTS] = 0

    def fewest(self) -> int:
        """The lowest count of all processes that have told theirs; 0 if none has."""
        return min((count for count in self._counts.tolist() if count), default=1) - 1
