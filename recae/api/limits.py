"""How often a key may ask: a token bucket each, in every serving process for itself.

Processes share nothing, so a key's true limit lies between the setting (all its requests reach one process) and the
setting times the number of processes. A store they share would be one more thing to run, and a round trip in every
request; behind a proxy that counts, leave the setting out.
"""

import threading
import time
from collections.abc import Callable


class RateLimiter:
    """Token buckets by name. Safe between threads.

    Args:
        per_s: tokens that a bucket gains per second.
        burst: tokens that it holds at most, and at first.
        clock: seconds that never go back; for tests.
    """

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and the time they were counted

    def take(self, name: str) -> float:
        """Take a token from a bucket: 0 if there was one, else the seconds until there is.

        A name is a key's, not a caller's own invention, so there are never more buckets than keys.
        """
        with self._lock:
            now = self._clock()
            tokens, counted = self._buckets.get(name, (self._burst, now))
            tokens = min(self._burst, tokens + (now - counted) * self._per_s)
            if tokens < 1.0:
                self._buckets[name] = (tokens, now)  # a refused request costs nothing
                return (1.0 - tokens) / self._per_s
            self._buckets[name] = (tokens - 1.0, now)
            return 0.0
