"""Which recommendation went to whom, from which model: beside the events that name it, so that both can be joined.

A user stands there as a digest, so that the table spells no ids, and all of a user's rows go when their events do.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select

from recae.data.eventlog import schema
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

    def outcomes(self, experiment: str, event_types: Sequence[str] = ()) -> list[UserOutcome]:
        """One line for each user of an experiment and variant, from live events; anonymous answers are left out.

        Args:
            experiment: its name.
            event_types: count only events of these types; all if empty.
        """
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
        with self._database.read() as connection:
            return [
                UserOutcome(str(variant), int(n), int(followed_n), int(n_events), float(value))
                for variant, n, followed_n, n_events, value in connection.execute(query)
            ]
