"""What tells every process of a server at once that one of them has changed items.

Each process looks into the database now and then; a change by another one would show late by that much. So whoever changes
items writes a new word into memory that the processes share, after the commit and before the answer, and every request
compares it. Another server over the same database shares no memory: it sees a change when it looks next.
"""

import mmap
import os
from typing import Final

WORD_BYTES: Final = 8


class ItemChanges:
    """A word that differs after each change; made before the processes part."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, WORD_BYTES)  # anonymous, and shared with what is forked later

    def word(self) -> bytes:
        """What was written last. Halfway through a writing it is a third word, which only leads to a look too many."""
        return self._memory[:WORD_BYTES]

    def tell(self) -> None:
        """Write another word: not a count, since of two processes that add to it at once one would be lost."""
        self._memory[:WORD_BYTES] = os.urandom(WORD_BYTES)
