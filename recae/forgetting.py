"""Whether a model may go by what it learned of a user whose events were deleted: by those read after the deletion alone.

Both moments are places in the log. Clocks of machines differ, and a model is stored long after it has read its events;
numbers of events only rise, and no event is given one while a deletion goes on.
"""

from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict


class LogPosition(BaseModel):
    """Up to where of which event log a training read."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    log_id: str
    """Of the log: the numbers of another one say nothing."""
    until: int
    """Number of the last event it could read, which was fixed before it read the first."""
    began: int
    """Second since 1970 in which it began to read, by the clock of the machine that trained."""


class Deletion(NamedTuple):
    """That a user's events were deleted: the last time, if it was several."""

    log_id: str
    until: int | None
    """Number of the last event that the log had by then; None where an older recae noted the deletion."""
    at: int
    """Second since 1970, by the clock of the machine that deleted."""

    @classmethod
    def noted(cls, log_id: str, until: int | None, at: int | None) -> Self | None:
        """From what an outer join found; None if there was nothing."""
        return None if at is None else cls(log_id, until, at)

    def precedes(self, learned: LogPosition | None) -> bool:
        """Whether none of the deleted events can have been read by a training.

        A number above that of the deletion was given after it, so whoever read up to there read what it had left. A log
        that was restored from a backup gives its numbers once more: only then do the clocks decide, and if in doubt the
        training comes first.

        Args:
            learned: up to where it read; None if it read something else, or that is not known: such as a file, which may
                hold the deleted events still.
        """
        return (
            learned is not None
            and self.until is not None
            and learned.log_id == self.log_id
            and learned.until > self.until
            and learned.began >= self.at
        )
