"""What requests may say and what answers look like; the OpenAPI document is made from these."""

from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    WithJsonSchema,
)

from recae.recommender import MAX_WEIGHT

MAX_ID_LENGTH = 256


def read_id(value: Any) -> str:
    """An id as a string: integers become their decimal digits, anything else but text is refused.

    Raises:
        ValueError: saying what was found.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"an id is a string or an integer, not {_json_type(value)}")  # noqa: TRY004 - pydantic's way
    if not 1 <= len(value) <= MAX_ID_LENGTH:
        raise ValueError(f"an id has 1 to {MAX_ID_LENGTH} characters, not {len(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("an id is valid Unicode; this one holds half a surrogate pair") from None
    return value


def _json_type(value: object) -> str:
    names = {bool: "a boolean", float: "a number with a fraction", dict: "an object", list: "a list"}
    return names.get(type(value), "null")


Id = Annotated[
    str,
    BeforeValidator(read_id),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}, {"type": "integer"}]}
    ),
]
Category = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
Weight = Annotated[float, Strict(), Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]
Categories = Annotated[list[Category], Field(max_length=100)]


class Request(BaseModel):
    """Base of what callers send: an unknown field is an error, since it would silently do nothing."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class TopNQuery(Request):
    """Query of the recommendations for a user."""

    n: int = Field(10, ge=1)
    """How many items; at most the server's limit, 1,000 by default."""
    offset: int = Field(0, ge=0)
    """How many places to skip; `next_offset` of the previous answer goes here."""
    exclude_seen: bool = True
    """Leave out what is in the user's history."""
    category: Categories = []
    """Recommend only items of any of these categories. May be repeated."""
    strict: bool = False
    """Answer 404 for an unknown user, in place of popular items."""


class SimilarQuery(Request):
    """Query of the items similar to one."""

    n: int = Field(10, ge=1)
    """How many items; at most the server's limit, 1,000 by default."""


class HistoryItem(Request):
    """One item of a history."""

    item_id: Id
    weight: Weight | None = None
    """How much it counts, or the rating given. Default: 1, or the mean rating. Refused by models that go by order."""
    timestamp: AwareDatetime | None = None
    """When it happened; without a time it comes last. Models that go by order read the history in this order, and as
    listed among equals. Of an item that comes twice the latest counts; without a time, the one named last."""


def _as_object(value: Any) -> Any:
    return value if isinstance(value, dict | HistoryItem) else {"item_id": value}


class Filter(Request):
    """Which items may be recommended."""

    include_items: list[Id] | None = None
    """The only candidates. Default: the whole catalogue."""
    exclude_items: list[Id] = []
    """Never these."""
    categories: Categories = []
    """Only items of any of these."""


class TopNRequest(Request):
    """A history to recommend for; without any the popular items are the answer."""

    user_id: Id | None = None
    """Adds what is known about this user to `items`."""
    items: list[
        Annotated[HistoryItem, BeforeValidator(_as_object, json_schema_input_type=Id | HistoryItem)]
    ] = []
    """The history: ids, or objects with a weight. At most the server's limit, 10,000 by default."""
    n: Annotated[int, Strict(), Field(ge=1)] = 10
    """How many items; at most the server's limit, 1,000 by default."""
    offset: Annotated[int, Strict(), Field(ge=0)] = 0
    """How many places to skip; `next_offset` of the previous answer goes here."""
    exclude_seen: StrictBool = True
    """Leave out what is in the history."""
    filter: Filter = Filter()


class Answer(BaseModel):
    """Base of what the server sends."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)


class RankedItemOut(Answer):
    """One place in a ranking."""

    item_id: str
    score: float
    """Comparable within one answer only."""
    rank: int
    """From 1, over all pages."""
    title: str | None


class RecommendationList(Answer):
    """Recommended items, best first."""

    recommendation_id: str
    model_version: str
    user_id: str | None
    strategy: Literal["model", "fold_in", "fallback"]
    """From the user's known history, from the history sent, or the most popular items."""
    items: list[RankedItemOut]
    short: str | None
    """Why there are fewer items than asked for."""
    unknown_items: list[str]
    """Ids of the request that the model does not know; they were left out."""
    next_offset: int | None
    """Where the next page begins, if there is one."""
    took_ms: float


class SimilarList(Answer):
    """Items similar to one, nearest first."""

    item_id: str
    title: str | None
    model_version: str
    items: list[RankedItemOut]
    short: str | None
    """Why there are fewer items than asked for."""
    took_ms: float


class Live(Answer):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(Answer):
    """The process can recommend."""

    status: Literal["ready"] = "ready"
    model_version: str
    problem: str | None
    """Why a newer model could not be loaded, if so; the one named here goes on serving."""


class ErrorDetail(Answer):
    """What went wrong."""

    code: str
    """For programs; does not change."""
    message: str
    """For people: what was found, what was expected, what to do."""
    field: str | None = None
    """The part of the request that is meant."""


class ErrorBody(Answer):
    """The one shape of every error."""

    error: ErrorDetail
    request_id: str
