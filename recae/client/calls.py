"""Every endpoint as a function that says what to send and how to read the answer; it sends nothing itself.

Parameters at their defaults are not sent, so the server's own defaults hold.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from recae.client import answers

T = TypeVar("T")

Id: TypeAlias = str | int
"""The id of a user or an item; an integer is sent as its decimal digits, as the server reads it."""

HistoryItem: TypeAlias = Id | Mapping[str, Any]
"""An item id, or ``{"item_id", "weight", "timestamp"}``."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and what its answer is read as."""

    method: str
    path: str
    answer: type[T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    repeatable: bool = True
    """Whether sending it twice does what sending it once does."""
    once_gone: T | None = None
    """The answer of a deletion that finds nothing when it is repeated: the try before, whose answer was lost, has done it."""


def recommend(
    user_id: Id,
    *,
    n: int | None = None,
    offset: int = 0,
    exclude_seen: bool = True,
    categories: Sequence[str] = (),
    diversity: float = 0.0,
    explain: int = 0,
    strict: bool = False,
    available_only: bool = True,
    model: str | None = None,
) -> Call[answers.Recommendations]:
    """Items for a user, best first, from the user's history as the server knows it now.

    Args:
        user_id: an unknown user gets the popular items.
        n: how many items; None for the server's default, 10.
        offset: places to skip: the ``next_offset`` of the page before.
        exclude_seen: leave out what is in the history.
        categories: only items of any of these.
        diversity: from 0, relevance alone, to 1.
        explain: name so many items of the history for each recommended one.
        strict: an unknown user is a ``NotFoundError``.
        available_only: leave out what is unavailable.
        model: a stored version, or a configured name; None for the one in service.
    """
    asked = {
        "n": n,
        "offset": offset or None,
        "exclude_seen": None if exclude_seen else "false",
        "category": list(categories) or None,
        "diversity": diversity or None,
        "explain": explain or None,
        "strict": "true" if strict else None,
        "available_only": None if available_only else "false",
        "model": model,
    }
    return Call("GET", f"/v1/users/{_part(user_id)}/recommendations", answers.Recommendations, _given(asked))


def recommend_for_history(
    items: Sequence[HistoryItem] = (),
    *,
    user_id: Id | None = None,
    n: int | None = None,
    offset: int = 0,
    exclude_seen: bool = True,
    include_items: Sequence[Id] | None = None,
    exclude_items: Sequence[Id] = (),
    categories: Sequence[str] = (),
    available_only: bool = True,
    diversity: float = 0.0,
    explain: int = 0,
    strict: bool = False,
    model: str | None = None,
) -> Call[answers.Recommendations]:
    """Items for a history that the server need not know, best first.

    Args:
        items: the history: ids, or objects with a weight and a time.
        user_id: adds what is known of this user.
        n: how many items; None for the server's default, 10.
        offset: places to skip.
        exclude_seen: leave out what is in the history.
        include_items: the only candidates; None for the whole catalogue.
        exclude_items: never these.
        categories: only items of any of these.
        available_only: leave out what is unavailable.
        diversity: from 0, relevance alone, to 1.
        explain: name so many items of the history for each recommended one.
        strict: an unknown user is a ``NotFoundError``.
        model: a stored version, or a configured name; None for the one in service.
    """
    wanted = _given(
        {
            "include_items": None if include_items is None else _texts(include_items),
            "exclude_items": _texts(exclude_items) or None,
            "categories": list(categories) or None,
            "available_only": None if available_only else False,
        }
    )
    body = {
        "user_id": _text(user_id),
        "items": _texts(items) or None,
        "n": n,
        "offset": offset or None,
        "exclude_seen": None if exclude_seen else False,
        "diversity": diversity or None,
        "explain": explain or None,
        "strict": strict or None,
        "model": model,
        "filter": wanted or None,
    }
    return Call("POST", "/v1/recommendations", answers.Recommendations, body=_given(body))


def batch(
    requests: Iterable[Mapping[str, Any]], *, n: int | None = None, model: str | None = None
) -> Call[answers.BatchAnswer]:
    """Many requests in one; each part has a status of its own.

    Args:
        requests: bodies of recommendation requests, such as ``{"user_id": "u1"}``.
        n: how many items for each that does not say.
        model: a stored version, or a configured name, for each that does not say.
    """
    body = _given({"requests": [dict(request) for request in requests], "n": n, "model": model})
    return Call("POST", "/v1/recommendations/batch", answers.BatchAnswer, body=body)


def similar(
    item_id: Id, *, n: int | None = None, available_only: bool = True, model: str | None = None
) -> Call[answers.SimilarItems]:
    """The items most like one item, without the item itself.

    Args:
        item_id: one that the model does not know is a ``NotFoundError``.
        n: how many items; None for the server's default, 10.
        available_only: leave out what is unavailable.
        model: a stored version, or a configured name; None for the one in service.
    """
    asked = {"n": n, "available_only": None if available_only else "false", "model": model}
    return Call("GET", f"/v1/items/{_part(item_id)}/similar", answers.SimilarItems, _given(asked))


def popular(
    *, n: int | None = None, categories: Sequence[str] = (), available_only: bool = True
) -> Call[answers.Ranking]:
    """What most users have, of any of some categories if these are given.

    Args:
        n: how many items; None for the server's default, 10.
        categories: only items of any of these.
        available_only: leave out what is unavailable.
    """
    asked = {
        "n": n,
        "category": list(categories) or None,
        "available_only": None if available_only else "false",
    }
    return Call("GET", "/v1/popular", answers.Ranking, _given(asked))


def rank(
    candidates: Sequence[Id],
    *,
    user_id: Id | None = None,
    items: Sequence[HistoryItem] = (),
    explain: int = 0,
    strict: bool = False,
    model: str | None = None,
) -> Call[answers.Recommendations]:
    """Candidates, best first, for a user, a history, or both: all but the hidden ones and those the model does not know.

    Args:
        candidates: the items to rank; one that is named twice is ranked once.
        user_id: whose history counts, as the server knows it now.
        items: a history: ids, or objects with a weight and a time.
        explain: name so many items of the history for each candidate.
        strict: an unknown user is a ``NotFoundError``.
        model: a stored version, or a configured name; None for the one in service.
    """
    body = {
        "user_id": _text(user_id),
        "items": _texts(items) or None,
        "candidates": _texts(candidates),
        "explain": explain or None,
        "strict": strict or None,
        "model": model,
    }
    return Call("POST", "/v1/rank", answers.Recommendations, body=_given(body))


def send_events(events: Iterable[Mapping[str, Any]]) -> Call[answers.EventsAccepted]:
    """One request with events, at least one; the clients' ``send_events`` makes as many of them as it takes.

    An event that has no ``event_id`` is given one, so that a repeated request counts once.
    """
    named = [_named(event) for event in events]
    return Call("POST", "/v1/events", answers.EventsAccepted, body=named)


def user_events_page(
    user_id: Id, *, n: int | None = None, cursor: str | None = None
) -> Call[answers.EventPage]:
    """One page of a user's events, newest first, 100 where ``n`` does not say; ``user_events`` goes over all pages."""
    asked = _given({"n": n, "cursor": cursor})
    return Call("GET", f"/v1/users/{_part(user_id)}/events", answers.EventPage, asked)


def delete_user(user_id: Id) -> Call[answers.DeletedUser]:
    """Delete all events of a user; the answer says what stays.

    Where a first answer was lost, ``deleted_events`` counts what the repeated request still found.
    """
    return Call("DELETE", f"/v1/users/{_part(user_id)}", answers.DeletedUser)


def put_item(
    item_id: Id,
    *,
    title: str | None = None,
    year: int | None = None,
    categories: Sequence[str] = (),
    available: bool = True,
    hidden: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Call[answers.CatalogueItem]:
    """Store an item, whole: what is not said here is emptied."""
    body = _given(
        {
            "title": title,
            "year": year,
            "categories": list(categories),
            "available": available,
            "hidden": hidden,
            "extra": None if extra is None else dict(extra),
        }
    )
    return Call("PUT", f"/v1/items/{_part(item_id)}", answers.CatalogueItem, body=body)


def patch_item(item_id: Id, **changes: Any) -> Call[answers.CatalogueItem]:
    """Change the named fields of an item: title, year, categories, available, hidden, extra."""
    return Call("PATCH", f"/v1/items/{_part(item_id)}", answers.CatalogueItem, body=changes)


def get_item(item_id: Id) -> Call[answers.CatalogueItem]:
    """What is known about an item."""
    return Call("GET", f"/v1/items/{_part(item_id)}", answers.CatalogueItem)


def delete_item(item_id: Id) -> Call[answers.DeletedItem]:
    """Forget what is known about an item; it is not recommended until it is stored again."""
    gone = answers.DeletedItem(str(item_id))
    return Call("DELETE", f"/v1/items/{_part(item_id)}", answers.DeletedItem, once_gone=gone)


def search_items(query: str, *, n: int = 20) -> Call[answers.FoundItems]:
    """Items whose titles hold the words of ``query``; ``get_item`` tells the rest of one."""
    return Call("GET", "/v1/items", answers.FoundItems, {"query": query, "n": n})


def models() -> Call[answers.ModelList]:
    """All stored versions."""
    return Call("GET", "/v1/models", answers.ModelList)


def promote(version: str) -> Call[answers.Promotion]:
    """Put a version into service."""
    return Call("POST", f"/v1/models/{_part(version)}/promote", answers.Promotion)


def rollback() -> Call[answers.Promotion]:
    """Put the version back into service that was before the current one."""
    return Call("POST", "/v1/models/rollback", answers.Promotion, repeatable=False)


def retrain() -> Call[answers.Run]:
    """Begin a retraining; a ``ConflictError`` if one runs.

    An ``UnavailableError`` with the code ``not_begun`` does not say that none began: see ``runs`` before beginning another.
    """
    return Call("POST", "/v1/admin/retrain", answers.Run, repeatable=False)


def runs(*, n: int = 20) -> Call[answers.RunList]:
    """Retrainings, the newest ``n`` of them, newest first."""
    return Call("GET", "/v1/admin/runs", answers.RunList, {"n": n})


def run(run_id: str) -> Call[answers.Run]:
    """One retraining."""
    return Call("GET", f"/v1/admin/runs/{_part(run_id)}", answers.Run)


def evaluation() -> Call[answers.EvaluationReport]:
    """The latest offline evaluation."""
    return Call("GET", "/v1/evaluation/latest", answers.EvaluationReport)


def live() -> Call[answers.Live]:
    """Whether the server answers at all."""
    return Call("GET", "/health/live", answers.Live)


def ready() -> Call[answers.Ready]:
    """Which version the server answers with; ``UnavailableError`` while it has none."""
    return Call("GET", "/health/ready", answers.Ready)


def _named(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """An event with an id; an empty one says nothing to the server."""
    given = _given(event)
    return given if given.get("event_id", "") != "" else given | {"event_id": uuid.uuid4().hex}


def _text(value: Any) -> Any:
    """The decimal digits of an integer id; anything else as it is, for the server to judge."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _texts(values: Iterable[Any]) -> list[Any]:
    return [_text(value) for value in values]


def _part(id_: Id) -> str:
    """An id as one part of a path. Dots alone would mean folders, and slashes further parts.

    Raises:
        TypeError: if it is neither text nor an integer; a path has no types that the server could tell it by.
        ValueError: if it is empty.
    """
    id_ = _text(id_)
    if not isinstance(id_, str):
        raise TypeError(f"an id is a string or an integer, found {type(id_).__name__} {id_!r}")
    if not id_:
        raise ValueError("an id is empty; expected a string of 1 to 256 characters")
    return quote(id_, safe="") if id_.strip(".") else "%2E" * len(id_)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
