"""Who takes what on which day, in a world made with a seed, or as a given log has it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recae.data.events import Events, chunks_of
from recae.errors import DataError

DAY_S = 86_400
START = 1_735_689_600
"""2025-01-01."""

Day: TypeAlias = list[dict[str, str | int]]
"""Events as `recae ingest` reads them: user_id, item_id, timestamp, event_id."""


@dataclass(frozen=True)
class WorldSettings:
    """What the generated world is like."""

    n_users: int = 400
    n_items: int = 200
    """Items of the first day."""
    n_new_items: float = 1.0
    """Items that appear on a day, in the mean."""
    n_tastes: int = 8
    """Dimensions of what people like."""
    events_a_day: int = 400
    drift: float = 0.03
    """Length of the step that tastes take in a day, where a taste has length 1."""
    sharpness: float = 4.0
    """How much taste decides, against chance."""
    seed: int = 0


class World:
    """Users with tastes that walk at random, and items with places among them; the newest items draw attention.

    The same settings give the same days, however often they are asked for.
    """

    def __init__(self, settings: WorldSettings) -> None:
        self.settings = settings

    def days(self, n: int) -> Iterator[Day]:
        """The events of each day."""
        how = self.settings
        rng = np.random.default_rng(how.seed)
        tastes = _directions(rng, how.n_users, how.n_tastes)
        items = _directions(rng, how.n_items, how.n_tastes)
        attraction = rng.normal(0, 1, how.n_items)
        for number in range(n):
            tastes = _normed(tastes + how.drift * rng.normal(size=tastes.shape))
            appeared = int(rng.poisson(how.n_new_items)) if number else 0
            items = np.vstack([items, _directions(rng, appeared, how.n_tastes)])
            attraction = np.concatenate([attraction, rng.normal(1, 1, appeared)])
            users = rng.integers(how.n_users, size=how.events_a_day)
            appeal = how.sharpness * tastes[users] @ items.T + attraction  # (n_events, n_items)
            chosen = (appeal + rng.gumbel(size=appeal.shape)).argmax(axis=1)  # a draw from the softmax
            times = np.sort(rng.integers(DAY_S, size=how.events_a_day))
            yield [
                _event(f"u{user}", f"i{item}", START + number * DAY_S + int(time), f"{number}-{place}")
                for place, (user, item, time) in enumerate(zip(users, chosen, times, strict=True))
            ]


def garbage(day: Day, number: int, *, times: int = 1, seed: int = 0) -> Day:
    """The same users and items of a day at random: as many events, or several times as many."""
    rng = np.random.default_rng([seed, number])
    users, items = (sorted({str(event[name]) for event in day}) for name in ("user_id", "item_id"))
    return [
        _event(
            users[int(rng.integers(len(users)))],
            items[int(rng.integers(len(items)))],
            int(event["timestamp"]),
            f"garbage-{number}-{copy}-{place}",
        )
        for copy in range(times)
        for place, event in enumerate(day)
    ]


def replayed(events: Events) -> list[Day]:
    """The days of a given log, from the first event's day to the last one's; a day without events is empty.

    Args:
        events: with timestamp.

    Raises:
        DataError: without timestamps, or without events.
    """
    table = pd.concat(list(chunks_of(events)), ignore_index=True)
    if "timestamp" not in table.columns or table.empty:
        raise DataError("a simulation goes day by day, and these events have no timestamp; map a column")
    table = table.sort_values("timestamp", kind="stable")
    numbers = (table["timestamp"] // DAY_S).to_numpy(dtype=np.int64)
    days: list[Day] = [[] for _ in range(int(numbers[-1] - numbers[0]) + 1)]
    for place, (number, user, item, time) in enumerate(
        zip(numbers, table["user_id"], table["item_id"], table["timestamp"], strict=True)
    ):
        days[int(number - numbers[0])].append(_event(str(user), str(item), int(time), f"e{place}"))
    return days


def _event(user_id: str, item_id: str, timestamp: int, event_id: str) -> dict[str, str | int]:
    return {"user_id": user_id, "item_id": item_id, "timestamp": timestamp, "event_id": event_id}


def _directions(rng: np.random.Generator, n: int, n_dimensions: int) -> NDArray[np.float64]:
    return _normed(rng.normal(size=(n, n_dimensions)))


def _normed(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    normed: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normed
