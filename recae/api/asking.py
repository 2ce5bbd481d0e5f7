"""Whom a request is about: the history in the event log as it is now, what the request adds, and what the model knows."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

from recae.api.context import state
from recae.api.errors import ApiError
from recae.api.schemas import History, HistoryItem
from recae.histories import MAX_WEIGHT
from recae.recommender import Recommender

NEVER_OUTDATED = datetime.max.replace(tzinfo=UTC)
Weights = dict[str, float | None]


class Asked(NamedTuple):
    """A history ready for the recommender."""

    history: Weights
    """Item id -> weight, earliest first."""
    user_id: str | None
    """Whose training row counts too."""
    seen: tuple[str, ...]
    """What the user knows beside."""
    unknown: list[str]
    """Ids of the request that the model does not know."""


def asked_of(recommender: Recommender, user_id: str | None, asked: History | None, *, strict: bool) -> Asked:
    """Collect a history.

    The log's newest events count, and of an item that has several the newest one. The row that the model was trained
    on counts beside them, so that nobody who has seen something gets it again, unless the user's events were deleted.

    Raises:
        ApiError: 404, if the user is unknown and the caller is strict.
        EventLogError: if the event log fails.
    """
    sent = _sent(asked.items) if asked is not None else {}
    unknown = [item_id for item_id in sent if item_id not in recommender.items]
    if user_id is None:
        return Asked(sent, None, (), unknown)
    api = state()
    recent = api.storage.log.recent(user_id, api.settings.max_history)
    row_of = user_id if recommender.knows_user(user_id) and not recent.is_deleted else None
    if strict and row_of is None and not recent.events:
        message = f"user {user_id!r} is neither in the event log nor in the log this model learned from"
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_user", message, "user_id")
    logged, seen = _logged(recent.events, recommender)
    if row_of is not None and not recommender.model.supports_fold_in:
        return Asked(sent, row_of, (*logged, *seen), unknown)
    for item_id, weight in sent.items():
        logged.pop(item_id, None)  # it moves to its later place: some models go by the order
        logged[item_id] = weight
    return Asked(logged, row_of, seen, unknown)


def _logged(events: list[tuple[str, float]], recommender: Recommender) -> tuple[Weights, tuple[str, ...]]:
    """Weights of the log's events, newest first, and items that were met but not liked.

    For a model of likings an event counts 1, and one with a value of 0 or below is none: it takes an earlier one back.
    """
    newest = dict(reversed(events))  # of an item that comes twice the newest event counts
    feedback = recommender.model.feedback
    if feedback == "ratings":
        return {item_id: min(max(value, -MAX_WEIGHT), MAX_WEIGHT) for item_id, value in newest.items()}, ()
    if feedback == "sequences":
        in_order = dict.fromkeys(item_id for item_id, _ in events)  # by the newest event of each
        newest = {item_id: newest[item_id] for item_id in reversed(in_order)}
    if min(newest.values(), default=1.0) > 0:
        return dict.fromkeys(newest), ()
    liked: Weights = {item_id: None for item_id, value in newest.items() if value > 0}
    return liked, tuple(item_id for item_id in newest if item_id not in liked)


def _sent(items: list[HistoryItem]) -> Weights:
    """Item id -> weight, earliest first; of an item that comes twice the latest counts, the later one among equals."""
    in_time = sorted(items, key=lambda item: item.timestamp or NEVER_OUTDATED)  # stable
    weights: Weights = {}
    for item in in_time:
        weights.pop(item.item_id, None)
        weights[item.item_id] = item.weight
    return weights
