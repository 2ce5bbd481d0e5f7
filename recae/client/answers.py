"""What the server's answers look like. Fields that a newer server adds are ignored, save in ``raw``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Raw = Mapping[str, Any]
"""The whole JSON object, for what has no field of its own."""


@dataclass(frozen=True)
class Explanation:
    """One item of the history, and what it adds to the score."""

    item_id: str
    contribution: float
    title: str | None = None


@dataclass(frozen=True)
class RankedItem:
    """One place in a ranking."""

    item_id: str
    score: float
    """Comparable within one answer only."""
    rank: int
    """From 1, over all pages."""
    title: str | None = None
    explanation: tuple[Explanation, ...] = ()
    """What speaks for the item, the strongest first; empty unless asked for."""


@dataclass(frozen=True)
class Ranking:
    """Items, best first."""

    items: tuple[RankedItem, ...]
    model_version: str
    short: str | None = None
    """Why there are fewer items than asked for."""
    unknown_items: tuple[str, ...] = ()
    """Ids of the request that the model does not know; they were left out."""
    took_ms: float | None = None

    @property
    def item_ids(self) -> list[str]:
        """The ids alone, best first."""
        return [item.item_id for item in self.items]


@dataclass(frozen=True)
class SimilarItems(Ranking):
    """Items like one, the most alike first."""

    item_id: str = ""
    """The one."""
    title: str | None = None


@dataclass(frozen=True)
class Recommendations(Ranking):
    """Recommended or ranked items, best first."""

    recommendation_id: str = ""
    """Send it along with the events that follow from this answer."""
    strategy: str = ""
    """``model``, ``fold_in`` or ``fallback``."""
    user_id: str | None = None
    next_offset: int | None = None
    """Where the next page begins, if there is one."""


@dataclass(frozen=True)
class ErrorDetail:
    """What went wrong with one part of a batch."""

    code: str
    message: str
    field: str | None = None


@dataclass(frozen=True)
class BatchPart:
    """The answer to one request of a batch: ``body``, or ``error``."""

    status: int
    body: Recommendations | None = None
    error: ErrorDetail | None = None


@dataclass(frozen=True)
class BatchAnswer:
    """One part for each request, in their order."""

    results: tuple[BatchPart, ...]
    took_ms: float | None = None


@dataclass(frozen=True)
class RejectedEvent:
    """An event that was refused."""

    index: int
    """Its place among the events sent, from 0."""
    code: str
    message: str


@dataclass(frozen=True)
class EventsAccepted:
    """What became of the events sent."""

    accepted: int
    """On the server's disk."""
    duplicates: int
    """Known already by their ``event_id``."""
    rejected: tuple[RejectedEvent, ...] = ()


@dataclass(frozen=True)
class UserEvent:
    """An event of a user's history."""

    item_id: str
    event_type: str
    value: float
    timestamp: int | str
    """Seconds since 1970, or ISO 8601, as the server writes it."""
    title: str | None = None
    """Of the item, with its year, if the catalogue has one."""
    event_id: str | None = None
    recommendation_id: str | None = None


@dataclass(frozen=True)
class EventPage:
    """A part of a user's history, newest first."""

    events: tuple[UserEvent, ...]
    user_id: str | None = None
    next_cursor: str | None = None
    """Where the next, older part begins, if there is one."""


@dataclass(frozen=True)
class DeletedUser:
    """What deleting a user did."""

    user_id: str
    deleted_events: int
    remains: str = ""
    """What is left of the user, and until when."""


@dataclass(frozen=True)
class CatalogueItem:
    """What is known about an item."""

    item_id: str
    title: str | None = None
    year: int | None = None
    categories: tuple[str, ...] = ()
    available: bool = True
    hidden: bool = False
    extra: Raw = field(default_factory=dict)
    """Further fields."""
    known_to_model: bool | None = None
    """Whether the model in service has learned of it."""


@dataclass(frozen=True)
class DeletedItem:
    """An item that is gone from the catalogue."""

    item_id: str
    deleted: bool = True


@dataclass(frozen=True)
class FoundItem:
    """An item that a search has found."""

    item_id: str
    title: str | None = None
    """With its year, if the catalogue has one."""


@dataclass(frozen=True)
class FoundItems:
    """Items that a search has found, the best match first."""

    items: tuple[FoundItem, ...]


@dataclass(frozen=True)
class ModelVersion:
    """A stored version."""

    version: str
    raw: Raw
    model: str | None = None
    """Name in the registry of models."""
    current: bool = False
    """Whether it is in service."""
    n_users: int | None = None
    n_items: int | None = None


@dataclass(frozen=True)
class ModelList:
    """All stored versions, oldest first."""

    versions: tuple[ModelVersion, ...]
    current: str | None = None
    """The version in service."""
    previous: str | None = None
    """The version that a rollback would bring back."""
    problem: str | None = None
    """Why nothing tells which that is, if so: the server's file is damaged, and a promotion mends it."""


@dataclass(frozen=True)
class Promotion:
    """Which version is in service now; every worker follows within a second or so."""

    model_version: str
    replaced: str | None = None


@dataclass(frozen=True)
class Run:
    """One retraining."""

    run_id: str
    raw: Raw
    status: str | None = None


@dataclass(frozen=True)
class RunList:
    """Retrainings, newest first."""

    runs: tuple[Run, ...]


@dataclass(frozen=True)
class EvaluationReport:
    """The latest offline evaluation the server knows of."""

    name: str
    results: Raw
    """As in results.json."""
    source: str | None = None
    created: str | None = None
    report: str | None = None
    """Path of the same as a page, if there is one."""


@dataclass(frozen=True)
class Live:
    """The server answers."""

    status: str = "live"


@dataclass(frozen=True)
class Ready:
    """The server can recommend."""

    model_version: str
    status: str = "ready"
    problem: str | None = None
    """Why a newer model could not be loaded, if so."""
