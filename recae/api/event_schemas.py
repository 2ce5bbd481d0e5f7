"""What events look like on their way in and out."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from recae.api.schemas import INT64, NAMED, Answer, Id, Request, Time


class Event(Request):
    """What a user did with an item. A field that is null, or not sent, gets its default.

    An empty `event_type`, `event_id` or `recommendation_id` counts as not sent, as an empty field of a file does.
    """

    # For the description alone: the log itself checks what comes, each event for itself.
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "42", "item_id": "1196", "event_type": "rating", "value": 5, "event_id": "e-1"}
            ]
        }
    )
    user_id: Id
    item_id: Id
    event_type: Id | None = "view"
    """Any word. The operator's settings may weigh types, and leave some out."""
    value: float | None = 1.0
    """What it is worth, or the rating. A model of likings may take only events from some value on for likings, if the operator
    has set one up: the others are stored, and no history."""
    timestamp: Time | None = None
    """Seconds since 1970, or ISO 8601 with a zone. Default: the time of arrival."""
    event_id: Id | None = None
    """The sender's name of the event: sent again, it is a duplicate, whatever else it says.
    Without one an event is known by all its fields."""
    recommendation_id: Id | None = None
    """The `recommendation_id` of the answer that led to it."""


Offered = Annotated[Any, WithJsonSchema({NAMED: "Event"})]


class EventList(Request):
    """Events to store. One that is not as described is rejected for itself, and the others are stored."""

    events: list[Offered] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _in_an_object(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {"events": value}
        if isinstance(value, dict) and "events" not in value and Event.model_fields.keys() & value.keys():
            raise ValueError('one event stands alone; send a list of events, or {"events": [...]}')
        return value


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
    """Stored now."""
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
    title: str | None
    """With its year, if the catalogue has one."""
    event_type: str
    value: float
    timestamp: Annotated[int, INT64]
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
