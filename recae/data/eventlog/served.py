"""Which recommendation went to whom, from which model: beside the events that name it, so that both can be joined.

A user stands there as a digest, so that the table spells no ids, and all of a user's rows go when their events do.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, func, select

from recae.data.eventlog import partitions, schema, streaming
from recae.data.eventlog.database import Database
from recae.data.eventlog.events import user_key

NAMES = (
    "recommendation_id",
    "user_key",
    "model_version",
    "strategy",
    "experiment",
    "variant",
    "served_at",
)

NAMING: Final = pa.schema(
    [partitions.ARROW.field(name) for name in ("sequence", "event_type", "value", "recommendation_id")]
)
"""What is read of archived events."""
NO_END: Final = 2**63 - 1
IDS_AT_ONCE: Final = 500
"""Of one question; databases limit how many values it may name."""
Numbers: TypeAlias = dict[tuple[str, bytes], list[Any]]
"""What a `UserOutcome` says behind its variant, by variant and user."""


class Served(NamedTuple):
    """One answer that was given."""

    recommendation_id: str
    user_id: str | None
    model_version: str
    strategy: str
    experiment: str | None
    variant: str | None
    served_at: int
    """Seconds since 1970."""


class UserOutcome(NamedTuple):
    """What one user of an experiment got, and did with it."""

    variant: str
    n_recommendations: int
    n_followed: int
    """Recommendations that an event of the types asked for names."""
    n_events: int
    value: float
    """Sum of those events' values."""


class ServedRecommendations:
    """An append-only table.

    Args:
        database: of the event log, as ``EventLog.database``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, served: Sequence[Served]) -> None:
        """Store answers, in one transaction; ids are never given twice."""
        rows = [
            dict(zip(NAMES, (each[0], each[1] and user_key(each[1]), *each[2:]), strict=True))
            for each in served
        ]
        if rows:
            self._database.write(lambda connection: connection.execute(schema.recommendations.insert(), rows))

    def count(self) -> int:
        """Number of answers."""
        with self._database.read() as connection:
            return int(
                connection.execute(select(func.count()).select_from(schema.recommendations)).scalar_one()
            )

    def experiments(self) -> list[str]:
        """Names of the experiments that answers were given in."""
        name = schema.recommendations.c.experiment
        query = select(name).where(name.is_not(None)).distinct().order_by(name)
        with self._database.read() as connection:
            return [str(found) for found in connection.execute(query).scalars()]

    def outcomes(
        self, experiment: str, event_types: Sequence[str] = (), *, archive: Path
    ) -> list[UserOutcome]:
        """One line for each user of an experiment and variant; anonymous answers are left out.

        Args:
            experiment: its name.
            event_types: count only events of these types; all if empty.
            archive: folder of the log's older part, whose events count as the live ones do.

        Raises:
            LastingLogError: if a part of the archive is missing or damaged.
        """
        with ExitStack() as stack:
            connection, readers = streaming.opened(stack, self._database, archive, 0, NO_END, NAMING)
            found = _live(connection, experiment, event_types)
            counted: set[str] = set()
            for reader in readers:
                for part in _archived(reader.take(NO_END), event_types):
                    _add(connection, experiment, event_types, part, found, counted)
        return [UserOutcome(variant, *numbers) for (variant, _), numbers in found.items()]


def _live(connection: Connection, experiment: str, event_types: Sequence[str]) -> Numbers:
    """Numbers of a `UserOutcome` by variant and user, from live events."""
    served, events = schema.recommendations.c, schema.events.c
    per_answer = select(
        events.recommendation_id, func.count().label("n"), func.sum(events.value).label("value")
    ).where(events.recommendation_id.is_not(None))
    if event_types:
        per_answer = per_answer.where(events.event_type.in_(event_types))
    followed = per_answer.group_by(events.recommendation_id).subquery()
    query = (
        select(
            served.variant,
            served.user_key,
            func.count(),
            func.count(followed.c.n),
            func.coalesce(func.sum(followed.c.n), 0),
            func.coalesce(func.sum(followed.c.value), 0.0),
        )
        .outerjoin_from(
            schema.recommendations, followed, followed.c.recommendation_id == served.recommendation_id
        )
        .where(served.experiment == experiment, served.user_key.is_not(None))
        .group_by(served.variant, served.user_key)
    )
    return {
        (str(variant), bytes(key)): [int(n), int(n_followed), int(n_events), float(value)]
        for variant, key, n, n_followed, n_events, value in connection.execute(query)
    }


def _archived(table: pa.Table, event_types: Sequence[str]) -> Iterator[dict[str, tuple[int, float]]]:
    """Answers that archived events name, a few at a time: how many events, and the sum of their values."""
    wanted = pc.is_valid(table.column("recommendation_id"))
    if event_types:
        wanted = pc.and_(wanted, pc.is_in(table.column("event_type"), pa.array(event_types)))
    grouped = table.filter(wanted).group_by("recommendation_id")
    rows = grouped.aggregate([("value", "count"), ("value", "sum")]).to_pylist()
    for start in range(0, len(rows), IDS_AT_ONCE):
        yield {
            row["recommendation_id"]: (row["value_count"], row["value_sum"])
            for row in rows[start : start + IDS_AT_ONCE]
        }


def _add(
    connection: Connection,
    experiment: str,
    event_types: Sequence[str],
    named: dict[str, tuple[int, float]],
    found: Numbers,
    counted: set[str],
) -> None:
    """Add what archived events say of some answers; ``counted`` are those that archived events have named before."""
    served, events = schema.recommendations.c, schema.events.c
    live = select(events.sequence).where(events.recommendation_id == served.recommendation_id)
    if event_types:
        live = live.where(events.event_type.in_(event_types))
    query = select(served.recommendation_id, served.variant, served.user_key, live.exists()).where(
        served.recommendation_id.in_(named), served.experiment == experiment, served.user_key.is_not(None)
    )
    for recommendation_id, variant, key, is_followed_live in connection.execute(query):
        n_events, value = named[recommendation_id]
        numbers = found[str(variant), bytes(key)]
        if not is_followed_live and recommendation_id not in counted:
            numbers[1] += 1
        counted.add(recommendation_id)
        numbers[2] += n_events
        numbers[3] += value
