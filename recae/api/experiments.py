"""A split of the users between models, and the record of who got which answer from which."""

import atexit
import hashlib
import logging
import threading
import time
from collections import deque

from recae.api.storage import Storage
from recae.config import Experiment
from recae.data.eventlog.served import Served
from recae.errors import EventLogError

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0
MOST_WAITING = 100_000
"""Answers kept while the database does not take them; beyond, the oldest are dropped."""


def variant_of(experiment: Experiment, user_id: str) -> str:
    """The model of one user: by a hash of the experiment's name and the user's id, so it is the same in every worker.

    Another name splits anew, independently of the split before.
    """
    digest = hashlib.blake2b(f"{experiment.name}\0{user_id}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64  # in [0, 1)
    reached = 0.0
    for variant, share in experiment.shares.items():
        reached += share
        if place < reached:
            return variant
    return next(reversed(experiment.shares))  # shares may add up to a little less than 1


class ServedRecorder:
    """Writes answers to the database once a second, in a thread of its own, so that no answer waits for it.

    A process that is killed loses those of its last second, and the events that name them count for no variant.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: deque[Served] = deque(maxlen=MOST_WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def record(
        self, recommendation_id: str, user_id: str, version: str, strategy: str, variant: str, name: str
    ) -> None:
        """Note one answer; returns at once."""
        self._waiting.append(
            Served(recommendation_id, user_id, version, strategy, name, variant, int(time.time()))
        )
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Write what is waiting. Whatever fails, it waits on, the newest as far as there is room."""
        batch = []
        while self._waiting:
            batch.append(self._waiting.popleft())
        try:
            self._storage.served.add(batch)
        except Exception as error:  # the thread has to go on
            room = MOST_WAITING - len(self._waiting)
            self._waiting.extendleft(reversed(batch[max(0, len(batch) - room) :]))
            logger.warning(
                "%d answers of an experiment wait to be recorded: %s",
                len(self._waiting),
                error,
                exc_info=not isinstance(error, EventLogError),
            )

    def close(self) -> None:
        """Write the rest, and stop."""
        self._closed.set()
        self.flush()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recae-served", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def _run(self) -> None:
        while not self._closed.wait(WRITE_EVERY_S):
            if self._waiting:
                self.flush()
