"""When to ask again, and after how long."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Retries:
    """How a request is repeated that got no answer, or one that says "later"."""

    tries: int = 4
    """How often a request is sent at most; 1 never repeats."""
    first_pause_s: float = 0.2
    """Upper end of the first pause, in seconds; it doubles with each try."""
    longest_pause_s: float = 10.0
    """Upper end of any pause, in seconds."""
    longest_retry_after_s: float = 60.0
    """A server that wants a longer pause than this, in seconds, is not waited for."""

    def __post_init__(self) -> None:
        if self.tries < 1 or min(self.first_pause_s, self.longest_pause_s, self.longest_retry_after_s) < 0:
            raise ValueError(f"expected tries >= 1 and pauses >= 0, found {self}")

    def pause_s(self, tried: int, retry_after_s: float | None = None) -> float | None:
        """Seconds to wait before the next try; None if there is none.

        Drawn between zero and a bound that doubles, so that clients which failed together do not return together;
        what the server asks for is waited in full, and the draw comes on top of it.

        Args:
            tried: how often the request was sent, from 1.
            retry_after_s: what the server asked for.
        """
        if tried >= self.tries or (retry_after_s or 0.0) > self.longest_retry_after_s:
            return None
        bound = min(self.longest_pause_s, self.first_pause_s * 2 ** (tried - 1))
        return (retry_after_s or 0.0) + random.uniform(0.0, bound)


def retry_after_s(header: str | None) -> float | None:
    """What a Retry-After header asks for, in seconds from now: a number, or an HTTP date; None if neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
