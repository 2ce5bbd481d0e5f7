"""Events as they are offered, accepted and stored; and the key that makes an event the same one when it comes again.

The key is 16 bytes:

- with an ``event_id``: BLAKE2b-128 of the id. The id alone counts, so an event that is sent again with another value or
  time is the same event, and the first one stays.
- without: the time as 5 bytes, big-endian, then BLAKE2b-88 of user, item, type, value, time and recommendation, so two
  events that agree in all of these are one. Events of one period lie together in the index, and a long ingest touches
  few of its pages.
- of an event whose source has no times: the same with 0 for the time, which is that of its arrival and differs each time
  the source is read. An export marks such events by an ``event_id`` that begins with ``UNTIMED``; what comes back with it
  gets the same key again, and no id.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from recae.data.acceptance import Acceptance
from recae.data.ids import LONGEST_ID
from recae.data.rows import CLEANERS, COLUMNS, BadRowError
from recae.forgetting import Deletion
from recae.history_rule import Met

DEFAULT_TYPE = "view"
DEFAULT_VALUE = 1.0

FIELDS = frozenset(COLUMNS.names)
NUMBERS = (int, float)
LARGE = 1e6

KEY_BYTES, TIME_BYTES = 16, 5
DIGEST_BYTES = KEY_BYTES - TIME_BYTES
SEPARATOR = "\0"
"""Between the fields; no id holds one, Acceptance sees to that."""
UNTIMED = "recae:untimed:"
"""Begins the id under which an event is exported that came without a time."""
TIME_OFFSET = 2**39
"""Makes times before 1970 positive; 5 bytes reach beyond the years 1 to 9999, which is all that is accepted."""


class Event(NamedTuple):
    """An event to append."""

    user_id: str
    item_id: str
    event_type: str = DEFAULT_TYPE
    value: float = DEFAULT_VALUE
    timestamp: float | str | None = None
    """Seconds since 1970, or ISO 8601 with a zone; None for the time of arrival."""
    event_id: str | None = None
    """The sender's name of the event; None to know it by its fields."""
    recommendation_id: str | None = None
    """The answer of recae that led to it."""


class StoredEvent(NamedTuple):
    """An event of the log."""

    sequence: int
    """Its place in the log: later appends have higher numbers; numbers may be missing."""
    user_id: str
    item_id: str
    event_type: str
    value: float
    timestamp: int
    event_id: str | None
    recommendation_id: str | None


@dataclass(frozen=True)
class Rejected:
    """An event that was refused."""

    index: int
    """Its place among the events offered, from 0."""
    code: str
    """For programs: ``bad_`` and the field, as in ``bad_timestamp``; ``bad_event`` if it is no event at all."""
    message: str


class Recent(NamedTuple):
    """What the log knows of a user now."""

    events: list[Met]
    """Newest first."""
    deletion: Deletion | None
    """When the user's events were deleted, if they were: nothing that was learned before may be used for them."""

    @property
    def stamp(self) -> "Stamp":
        """What ``EventLog.stamp`` says for as long as this is what the log knows."""
        return Stamp(len(self.events), sum(event[4] for event in self.events), self.deletion)


class Stamp(NamedTuple):
    """Tells whether what ``EventLog.recent`` gives has changed: it has not while the stamp is the same.

    Numbers of events are never given twice, and events go by their age or by their user, all of them. What comes in
    has a higher number than what it drives out of the newest n, so another set of events has another count or another
    sum; in PostgreSQL, where commits may overtake each other, only as long as there are fewer than n.
    """

    n_events: int
    sum_of_sequences: int
    deletion: Deletion | None


class Appended(NamedTuple):
    """What became of the events offered."""

    accepted: int
    """Stored now; on the disk before this is returned."""
    duplicates: int
    """In the log already."""
    rejected: Sequence[Rejected] = ()


Row: TypeAlias = tuple[bytes, str, str, str, float, int, str | None, str | None]
"""Key, user_id, item_id, event_type, value, timestamp, event_id, recommendation_id."""


def accept(
    events: Iterable[Event | Mapping[str, Any]], now: float, acceptance: Acceptance
) -> tuple[list[Row], list[Rejected]]:
    """Rows to store, and what is refused; in the order of ``events``."""
    rows: list[Row] = []
    rejected: list[Rejected] = []
    for index, event in enumerate(events):
        row = _plain_row(event, now, acceptance) if type(event) is dict else None
        if row is not None:
            rows.append(row)
            continue
        try:
            rows.append(_row(event._asdict() if isinstance(event, Event) else event, now, acceptance))
        except _RefusedError as refused:
            rejected.append(Rejected(index, refused.code, str(refused)))
    return rows, rejected


class _RefusedError(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.code = f"bad_{field}"


def _plain_row(event: dict[str, Any], now: float, acceptance: Acceptance) -> Row | None:
    """What `_row` makes of an event that needs no cleaning, in a third of the time; None for any that may."""
    get: Callable[..., Any] = event.get
    user_id, item_id, event_type = get("user_id"), get("item_id"), get("event_type", DEFAULT_TYPE)
    value, timestamp = get("value", DEFAULT_VALUE), get("timestamp", now)
    event_id, recommendation_id = get("event_id"), get("recommendation_id")
    if not event.keys() <= FIELDS or not (
        _is_plain(user_id) and _is_plain(item_id) and _is_plain(event_type)
    ):
        return None
    if (event_id is not None and not _is_plain(event_id)) or (
        recommendation_id is not None and not _is_plain(recommendation_id)
    ):
        return None
    if type(value) not in NUMBERS or type(timestamp) not in NUMBERS:
        return None
    if not (-LARGE < value < LARGE and 0 <= timestamp <= acceptance.latest):  # NaN is neither
        return None
    return keyed(user_id, item_id, event_type, float(value), int(timestamp), event_id, recommendation_id)


def _is_plain(text: Any) -> bool:
    """A string that every rule lets through: no zero byte, no half surrogate pair, not blank, not endless."""
    return (
        type(text) is str
        and text.isascii()
        and text.isprintable()
        and 0 < len(text) <= LONGEST_ID
        and not text.isspace()
    )


def _row(event: Mapping[str, Any], now: float, acceptance: Acceptance) -> Row:
    if not isinstance(event, Mapping):
        raise _RefusedError(
            "event", f"expected an object with user_id and item_id, found {type(event).__name__}"
        )
    unknown = sorted(map(str, set(event) - set(COLUMNS.names)))
    if unknown:
        raise _RefusedError(
            "event", f"there is no field {', '.join(unknown)}; expected {', '.join(COLUMNS.names)}"
        )
    given = {"user_id": None, "item_id": None} | {
        name: value for name, value in event.items() if value is not None
    }
    given.setdefault("timestamp", now)
    given.setdefault("value", DEFAULT_VALUE)
    clean: dict[str, Any] = {}
    for name, value in given.items():
        try:
            clean[name] = CLEANERS[name](name, _as_sent(name, value))
            acceptance.check(name, clean[name])
        except BadRowError as bad:
            raise _RefusedError(name, str(bad)) from None
    return keyed(
        clean["user_id"],
        clean["item_id"],
        clean.get("event_type") or DEFAULT_TYPE,
        clean["value"],
        clean["timestamp"],
        clean.get("event_id"),
        clean.get("recommendation_id"),
    )


def _as_sent(name: str, value: Any) -> Any:
    """A field as a program sends it: in a file 7.0 may stand for the id 7, here it is a mistake."""
    if name == "timestamp":
        return _seconds(value)
    if name != "value" and isinstance(value, float):
        raise BadRowError(f"{name} is neither text nor an integer")
    return value


def _seconds(value: Any) -> Any:
    """A time as a program sends it: here milliseconds are a mistake, and so is a time that names no zone."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRowError("timestamp is neither epoch seconds nor ISO 8601")
    if isinstance(value, str):
        try:
            zone = datetime.fromisoformat(value.strip()).tzinfo
        except ValueError:
            raise BadRowError("timestamp is neither epoch seconds nor ISO 8601") from None
        if zone is None:
            raise BadRowError("timestamp names no zone; end it with Z or an offset such as +02:00")
        return value
    if 1e11 < abs(value) < math.inf:
        raise BadRowError("timestamp is out of range; expected seconds since 1970, not milliseconds")
    return value


def keyed(
    user_id: str,
    item_id: str,
    event_type: str,
    value: float,
    timestamp: int,
    event_id: str | None,
    recommendation_id: str | None,
) -> Row:
    """The event with its key before it."""
    keyed_time = timestamp
    if event_id is not None and event_id.startswith(UNTIMED):
        event_id, keyed_time = None, 0
    if event_id is not None:
        key = id_key(event_id)
    else:
        text = SEPARATOR.join(
            (user_id, item_id, event_type, repr(value), str(keyed_time), recommendation_id or "")
        )
        digest = hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
        key = (keyed_time + TIME_OFFSET).to_bytes(TIME_BYTES, "big") + digest
    return key, user_id, item_id, event_type, value, timestamp, event_id, recommendation_id


def id_key(event_id: str) -> bytes:
    """The key of an event that has an id."""
    return hashlib.blake2b(event_id.encode(), digest_size=KEY_BYTES).digest()


def user_key(user_id: str) -> bytes:
    """A user in tables that must not spell their ids: BLAKE2b-128."""
    return id_key(user_id)
