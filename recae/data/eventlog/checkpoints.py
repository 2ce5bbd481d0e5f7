"""Moving SQLite's write-ahead log into its file beside the writers, who would stand still for it every few thousand events."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

EVERY_S: Final = 1.0
MOST_PAGES: Final = 16_384
"""64 MB: from here on writers have to wait until the log can begin anew; while all write without a break it only grows."""


class Checkpoints:
    """Checkpoints of one file in a thread, started by those who commit briefly.

    Args:
        file: the database.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="recae-checkpoint")
        self._begins = threading.Lock()
        self._last = time.monotonic()

    def commit_done(self) -> None:
        """Begin a checkpoint, if the last one is a while ago."""
        now = time.monotonic()
        if now - self._last >= EVERY_S and self._begins.acquire(blocking=False):
            self._last = now
            try:
                self._threads.submit(self._move)
            except RuntimeError:  # the log is being closed
                self._begins.release()

    def close(self) -> None:
        """Wait for the one that runs."""
        self._threads.shutdown()

    def _move(self) -> None:
        try:
            with closing(sqlite3.connect(self._file, timeout=0.1, isolation_level=None)) as connection:
                # None of them may wait for another one: then that one does the work.
                _busy, n_pages, _moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if n_pages > MOST_PAGES:
                    connection.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.Error:
            pass  # there is a next time, and whoever opens the file moves the rest
        finally:
            self._begins.release()
