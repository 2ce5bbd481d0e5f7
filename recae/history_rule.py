"""What a user's events come to: the same rule builds the rows a model learns from and the histories it is asked with."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, PositiveFloat

DAY_S = 86_400
LEAST = 2.0**-149
"""The least number above 0 in single precision, in which matrices hold values."""

Duplicates = Literal["last", "sum", "max", "count"]
"""What becomes of several events of one user with one item; the entry's time is always the latest of them.

- ``last``: the value of the latest event; among equal times, and without times, the one that came last.
- ``sum``: the sum of the values.
- ``max``: the largest value.
- ``count``: the number of events, whatever their values.
"""


Met: TypeAlias = tuple[str, float, str, int, int]
"""One event of a user: item, value, type, time, and number in the log."""


def lowest_liking(min_value: float | None) -> float:
    """The lowest value of a liking: ``min_value``, or without one the least number above 0."""
    return LEAST if min_value is None else min_value


class HistoryRule(BaseModel):
    """How events are weighed, and which of them count."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    event_weights: dict[str, float] = {}
    """Weight of each type of event, which its value is multiplied by; 0 leaves it out. Empty: every event counts its value."""
    other_weight: float | None = None
    """Weight of types that ``event_weights`` does not name; None: serving leaves them out, and training refuses more than a
    few."""
    half_life_days: PositiveFloat | None = None
    """Days after which an event counts half; None for no decay."""
    duplicates: Duplicates = "last"
    """What several events of one user with one item become."""
    min_value: float | None = None
    """Lowest value that makes an item a liking; None for everything above 0."""

    @property
    def lowest_liking(self) -> float:
        """The lowest value of a liking."""
        return lowest_liking(self.min_value)

    @property
    def reads_values_alone(self) -> bool:
        """Whether type and time of an event change nothing, and the newest one of an item says all."""
        return not self.event_weights and self.half_life_days is None and self.duplicates == "last"

    @property
    def fades(self) -> bool:
        """Whether the same events come to something else as time goes by."""
        return self.half_life_days is not None

    def values(self, newest_first: Iterable[Met], now: float) -> dict[str, float]:
        """What each item has come to, in the order of their newest events, earliest first.

        Args:
            newest_first: events of one user.
            now: seconds since 1970, by which older events have faded.
        """
        found: dict[str, float] = {}
        order: list[str] = []
        for item_id, plain, event_type, timestamp, _ in newest_first:
            value = self._weighed(plain, event_type, timestamp, now)
            if value is None:
                continue
            if item_id not in found:
                order.append(item_id)
                found[item_id] = 1.0 if self.duplicates == "count" else value
            elif self.duplicates == "sum":
                found[item_id] += value
            elif self.duplicates == "max":
                found[item_id] = max(found[item_id], value)
            elif self.duplicates == "count":
                found[item_id] += 1.0
        return {item_id: found[item_id] for item_id in reversed(order)}

    def _weighed(self, value: float, event_type: str, timestamp: int, now: float) -> float | None:
        """An event's value by its type and age; None for one that is left out."""
        weight = 1.0
        if self.event_weights:
            weight = self.event_weights.get(event_type, self.other_weight or 0.0)
            if weight == 0:
                return None
        if self.half_life_days is not None:
            weight *= 0.5 ** (max(now - timestamp, 0.0) / DAY_S / self.half_life_days)
        return weight * value


NEWEST_COUNTS = HistoryRule()
"""Of an item that comes several times the newest event counts, if its value is above 0."""
