"""Whom a request is about: the history in the event log as it is now, what the request adds, and what the model knows."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

from recae.api.context import state
from recae.api.errors import ApiError
from recae.api.known_histories import LONGEST_KNOWN
from recae.api.schemas import History, HistoryItem
from recae.data.eventlog.events import Recent
from recae.data.eventlog.together import ReadsUsers
from recae.histories import Row
from recae.recommender import Recommender

NEVER_OUTDATED = datetime.max.replace(tzinfo=UTC)
Weights = dict[str, float | None]


class Asked(NamedTuple):
    """A history ready for the recommender."""

    history: Row
    seen: tuple[str, ...]
    """What the user knows beside."""
    unknown: list[str]
    """Ids of the request that the model does not know."""

    def alone(self) -> "Asked":
        """The same without a part of a model's arrays, which would keep all of them in memory."""
        row = self.history
        return self._replace(history=row._replace(columns=row.columns.copy(), values=row.values.copy()))


def asked_of(
    recommender: Recommender,
    user_id: str | None,
    asked: History | None,
    *,
    strict: bool,
    log: ReadsUsers | None = None,
) -> Asked:
    """Collect a history, or remember it where the log says that nothing has changed.

    The log's newest events count, made into a history as the rows were that the model learned from: weights by type,
    decay, several events of one item, the lowest value. The row that the model was trained on counts beside them, so that
    nobody who has seen something gets it again, unless events of the user were deleted that may be in it.

    Args:
        recommender: reads the history.
        user_id: whom the request is about; None for nobody known.
        asked: what the request adds.
        strict: whether an unknown user is an error.
        log: what is known of the users of a batch; None for the log itself.

    Raises:
        ApiError: 404, if the user is unknown and the caller is strict.
        EventLogError: if the event log fails.
    """
    sent = _sent(asked.items) if asked is not None else {}
    unknown = [item_id for item_id in sent if item_id not in recommender.items]
    if user_id is None:
        return Asked(recommender.read(sent), (), unknown)
    api = state()
    log = log or api.storage.log
    n, place = api.settings.max_history, (recommender.version, user_id)
    is_lasting = api.histories.most > 0 and not (sent or recommender.history_rule.fades)
    if is_lasting and place in api.histories:
        remembered = api.histories.find(place, log.stamp(user_id, n))
        if remembered is not None:
            return remembered
    recent = log.recent(user_id, n)
    found = _collected(recommender, recent, user_id, sent, unknown, strict=strict)
    is_long = len(found.history.columns) + len(found.seen) > LONGEST_KNOWN
    api.long_histories.note(user_id, is_long=is_long)
    # A stranger is looked up each time: some callers want to hear that it is one.
    if is_lasting and recent.events and not is_long:
        api.histories.keep(place, recent.stamp, found.alone())
    return found


def _collected(
    recommender: Recommender,
    recent: Recent,
    user_id: str,
    sent: Weights,
    unknown: list[str],
    *,
    strict: bool,
) -> Asked:
    """The history that the log has of a user, with what the request adds."""
    is_known = bool(recent.events) or recommender.remembers(user_id, recent.deletion)
    if strict and not is_known:
        message = f"user {user_id!r} is neither in the event log nor in the log this model learned from"
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_user", message, "user_id")
    row, seen = recommender.read_logged(user_id, recent, state().storage.log.now(), sent)
    return Asked(row, seen, unknown)


def _sent(items: list[HistoryItem]) -> Weights:
    """Item id -> weight, earliest first; of an item that comes twice the latest counts, the later one among equals."""
    in_time = sorted(items, key=lambda item: item.timestamp or NEVER_OUTDATED)  # stable
    weights: Weights = {}
    for item in in_time:
        weights.pop(item.item_id, None)
        weights[item.item_id] = item.weight
    return weights
