"""From what a request says about a user to one row of the matrix."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recae.data.holdout import Feedback
from recae.data.idmap import IdMap
from recae.errors import DataError
from recae.history_rule import HistoryRule, Met
from recae.models.base import Model
from recae.models.ranking import Positions, Scores

Strategy: TypeAlias = Literal["model", "fold_in", "fallback"]
Sent: TypeAlias = dict[str, float | None]

MAX_WEIGHT = 1e6
"""Largest weight of one item in a history; float32 sums of squares stay finite far beyond it."""


class Logged(NamedTuple):
    """What the events of a user come to."""

    history: Sent
    """Item id -> weight, earliest first."""
    seen: tuple[str, ...]
    """What the user met beside, and did not like: no history, and not to be recommended."""


def logged(newest_first: Sequence[Met], rule: HistoryRule, feedback: Feedback, now: float) -> Logged:
    """A history of a user's events, as the rows that a model learned from were made.

    For a model of likings an item counts 1 or not at all; a model of ratings takes its value as the rating.

    Args:
        newest_first: events of one user.
        rule: how events are weighed, and which of them count.
        feedback: what the model's values mean.
        now: seconds since 1970.
    """
    if rule.reads_values_alone and feedback != "sequences":  # the usual case, several times as fast
        values = {event[0]: event[1] for event in reversed(newest_first)}
    else:
        values = rule.values(newest_first, now)
    if feedback == "ratings":
        return Logged(
            {item_id: min(max(value, -MAX_WEIGHT), MAX_WEIGHT) for item_id, value in values.items()}, ()
        )
    lowest = rule.lowest_liking
    liked: Sent = {item_id: None for item_id, value in values.items() if value >= lowest}
    if len(liked) == len(values) and not rule.event_weights:  # nothing was left out
        return Logged(liked, ())
    return Logged(liked, tuple(dict.fromkeys(event[0] for event in newest_first if event[0] not in liked)))


class Row(NamedTuple):
    """One history as the model reads it."""

    columns: Positions
    """Shape (n,), ascending."""
    values: Scores
    """Shape (n,)."""
    strategy: Strategy
    unknown: tuple[str, ...] = ()
    """Ids that were sent and that the model does not know."""


class Histories:
    """Rows of histories: what a fitted model knows of its users, and what a request adds.

    Args:
        model: a fitted model.
        items: its columns.
        users: its rows; without them every user is unknown.
    """

    def __init__(self, model: Model, items: IdMap, users: IdMap | None) -> None:
        self.model = model
        self.items = items
        self.users = users

    def row(self, sent: Sent, user_id: str | None) -> Row:
        """One history, and what can be done with it.

        Raises:
            DataError: if a weight is nothing the model can take.
        """
        stored_columns, stored_values = self._stored(user_id)
        columns = self.items.find(sent)
        known, unknown = np.flatnonzero(columns >= 0), tuple[str, ...]()
        if len(known) < len(columns):
            unknown = tuple(item_id for item_id in sent if item_id not in self.items)
        columns = columns[known]
        if not len(columns):
            return Row(stored_columns, stored_values, "model" if len(stored_columns) else "fallback", unknown)
        values = self._values(sent, known, stored_values)
        if len(stored_columns):
            is_sent = np.zeros(len(self.items), dtype=np.bool_)
            is_sent[columns] = True
            kept = ~is_sent[stored_columns]
            columns = np.concatenate([stored_columns[kept], columns])
            values = np.concatenate([stored_values[kept], values])
        order = np.argsort(columns)
        strategy: Strategy = "fold_in" if self.model.supports_fold_in else "fallback"
        return Row(columns[order], values[order], strategy, unknown)

    def _stored(self, user_id: str | None) -> tuple[Positions, Scores]:
        """The training row of a user; empty for an unknown one."""
        if user_id is None or self.users is None or user_id not in self.users:
            return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
        position = self.users.position(user_id)
        start, end = self.model.histories_.indptr[position : position + 2]
        return self.model.histories_.indices[start:end], self.model.histories_.data[start:end]

    def _values(self, sent: Sent, known: NDArray[np.intp], stored: Scores) -> Scores:
        """What the known items that were sent count, in their order."""
        if self.model.feedback != "sequences" and list(sent.values()).count(None) == len(sent):
            return np.full(len(known), self._usual_weight, dtype=np.float32)
        pairs = list(sent.items())
        given = [pairs[place] for place in known.tolist()]
        if self.model.feedback == "sequences":
            until = float(stored.max(initial=0.0))
            values = [
                self._place(item_id, weight, until + place)
                for place, (item_id, weight) in enumerate(given, start=1)
            ]
        else:
            values = [self._weight(*pair) for pair in given]
        return np.array(values, dtype=np.float32)

    def _place(self, item_id: str, weight: float | None, place: float) -> float:
        if weight is not None:
            raise DataError(
                f"item {item_id!r} has the weight {weight}; {self.model.name} goes by the order of a history: "
                "name its items earliest first, without weights"
            )
        return place

    def _weight(self, item_id: str, weight: float | None) -> float:
        if weight is None:
            return self._usual_weight
        if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
            raise DataError(
                f"item {item_id!r} has the weight {weight}; expected a number up to {MAX_WEIGHT:g}"
            )
        if weight <= 0 and self.model.feedback == "implicit":
            raise DataError(
                f"item {item_id!r} has the weight {weight}; {self.model.name} learned from likings: above 0"
            )
        return weight

    @cached_property
    def _usual_weight(self) -> float:
        """What an item counts that was sent without a weight: 1 says "liked", and so does the highest rating.

        The mean rating would say nothing: it is what the models expect of an item anyway.
        """
        values = self.model.histories_.data
        return float(values.max()) if self.model.feedback == "ratings" and len(values) else 1.0


def as_sent(history: Mapping[str, float | None] | Iterable[str]) -> Sent:
    """Item id -> weight, None for the usual one; of an id that comes twice in a list the later place counts."""
    if isinstance(history, Mapping):
        return dict(history)
    return dict.fromkeys(list(dict.fromkeys(reversed(list(history))))[::-1])
