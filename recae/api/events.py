"""Events in, a user's events out, and a user gone."""

from http import HTTPStatus

from flask import Blueprint

from recae.api.context import path_id, state
from recae.api.errors import invalid
from recae.api.event_schemas import (
    EventList,
    EventOut,
    EventsAccepted,
    EventsQuery,
    RejectedEvent,
    UserDeleted,
    UserEvents,
)
from recae.api.spec import documented

bp = Blueprint("events", __name__, url_prefix="/v1")

ARCHIVE_WAIT_S = 3.0
"""How long a deletion waits for maintenance of the archive, which may take minutes; it holds a thread meanwhile."""
REMAINS = (
    "what models learned from these events stays in their weights until the next training; "
    "the row that a model keeps of this user is not used any more"
)


@bp.post("/events")
@documented("send_events", tag="events", ok=EventsAccepted, errors=(503,), status=HTTPStatus.ACCEPTED)
def send_events(json: EventList) -> EventsAccepted:
    """Store events; they are on the disk when the answer comes, and count in the next recommendation.

    An event that is stored already, by its `event_id` or by all of its fields, is a duplicate and adds nothing, so a
    request may be sent again. An event that cannot be used is rejected for itself. An array of events is taken, too, without
    the object around it.
    """
    return stored(json)


def stored(asked: EventList) -> EventsAccepted:
    """What the route above answers."""
    appended = state().storage.log.append(asked.events)
    return EventsAccepted(
        accepted=appended.accepted,
        duplicates=appended.duplicates,
        rejected=[
            RejectedEvent(
                index=rejected.index,
                code=rejected.code,
                message=rejected.message.encode(errors="replace").decode(),
            )
            for rejected in appended.rejected
        ],
    )


@bp.get("/users/<id:user_id>/events")
@documented("user_events", tag="events", ok=UserEvents, errors=(404, 503))
def user_events(user_id: str, query: EventsQuery) -> UserEvents:
    """A user's events, newest first, page by page; none for a user whom the log does not know."""
    user_id = path_id(user_id, "user_id")
    limit = state().settings.max_n
    if query.n > limit and "n" in query.model_fields_set:
        raise invalid("n", f"{query.n} is over this server's limit of {limit} events")
    page = state().storage.log.history(user_id, min(query.n, limit), query.cursor)
    titles = state().served.titles({event.item_id for event in page.events})
    return UserEvents(
        user_id=user_id,
        events=[EventOut(title=titles[event.item_id], **event._asdict()) for event in page.events],
        next_cursor=page.next_cursor,
    )


@bp.delete("/users/<id:user_id>")
@documented("delete_user", tag="events", ok=UserDeleted, errors=(404, 503))
def delete_user(user_id: str) -> UserDeleted:
    """Remove all events of a user, and stop recommending from what a model keeps of them.

    What models learned from the events stays in their weights until the next training. A user whom nobody knows is
    no error: there is nothing left of them either.
    """
    user_id = path_id(user_id, "user_id")
    deleted = state().storage.log.delete_user(user_id, wait=ARCHIVE_WAIT_S)
    return UserDeleted(user_id=user_id, deleted_events=deleted, remains=REMAINS)
