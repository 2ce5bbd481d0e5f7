"""What events look like on their way in and out."""

from typing import Annotated, Any

from pydantic import Field, RootModel, WithJsonSchema

from recae.api.schemas import Answer, Request

EVENT = {
    "type": "object",
    "properties": {
        "user_id": {"type": ["string", "integer"]},
        "item_id": {"type": ["string", "integer"]},
        "event_type": {"type": "string", "default": "view"},
        "value": {"type": "number", "default": 1},
        "timestamp": {
            "type": ["number", "string", "null"],
            "description": "Seconds since 1970, or ISO 8601 with a zone; without one, the time of arrival.",
        },
        "event_id": {
            "type": ["string", "null"],
            "description": "The sender's name of the event: sent again, it is a duplicate, whatever else it says.",
        },
        "recommendation_id": {
            "type": ["string", "null"],
            "description": "The `recommendation_id` of the answer that led to it.",
        },
    },
    "required": ["user_id", "item_id"],
}
Offered = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [EVENT, {}],
            "description": "An event. One that is not as described here is rejected for itself, and the others are stored.",
        }
    ),
]


class EventList(Request):
    """Events in an object."""

    events: list[Offered] = Field(min_length=1)


class Events(RootModel[Annotated[list[Offered], Field(min_length=1)] | EventList]):
    """Events to store: an array, or an object with one."""

    @property
    def offered(self) -> list[Any]:
        """The events, whichever way they came."""
        return self.root.events if isinstance(self.root, EventList) else self.root


class RejectedEvent(Answer):
    """An event that was not stored."""

    index: int
    """Its place in the request, from 0."""
    code: str
    """For programs: `bad_` and the field, or `bad_event`."""
    message: str


class EventsAccepted(Answer):
    """What became of the events sent. Those accepted are on the disk."""

    accepted: int
    duplicates: int
    """Known already; they add nothing."""
    rejected: list[RejectedEvent]


class EventsQuery(Request):
    """Query of a user's events."""

    n: int = Field(100, ge=1)
    """How many events; at most the server's limit, 1,000 by default."""
    cursor: str | None = Field(None, pattern=r"^-?[0-9]{1,18}\.[0-9]{1,18}$")
    """`next_cursor` of the previous answer."""


class EventOut(Answer):
    """An event of the log."""

    item_id: str
    event_type: str
    value: float
    timestamp: int
    """Seconds since 1970."""
    event_id: str | None
    recommendation_id: str | None


class UserEvents(Answer):
    """A user's events, newest first."""

    user_id: str
    events: list[EventOut]
    next_cursor: str | None
    """Where the next, older part begins; null if this is the last."""


class UserDeleted(Answer):
    """A user's events are gone, archived ones too."""

    user_id: str
    deleted_events: int
    remains: str
    """What is left of the user, and until when."""
