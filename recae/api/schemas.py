"""What requests may say and what answers look like; the OpenAPI document is made from these."""

from datetime import datetime
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

from recae.data.ids import LONGEST_ID, IdFault, id_fault
from recae.recommender import MAX_WEIGHT

MAX_OFFSET = 2**31 - 1
MAX_EXPLAIN = 100


def read_id(value: Any) -> str:
    """An id as a string: integers become their decimal digits, anything else but text is refused.

    Raises:
        ValueError: saying what was found.
    """
    match id_fault(value):
        case None:
            return str(value)
        case IdFault.KIND:
            raise ValueError(f"an id is a string or an integer, not {_json_type(value)}")
        case IdFault.LENGTH:
            raise ValueError(f"an id has 1 to {LONGEST_ID} characters, not {len(str(value))}")
        case IdFault.UNICODE:
            raise ValueError("an id is valid Unicode; this one holds half a surrogate pair")
        case IdFault.ZERO_BYTE:
            raise ValueError("an id holds no zero byte; this one does")


def _json_type(value: object) -> str:
    names = {bool: "a boolean", float: "a number with a fraction", dict: "an object", list: "a list"}
    return names.get(type(value), "null")


def _read_time(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str | datetime):
        raise ValueError("a time is ISO 8601 with a zone, or seconds since 1970")  # noqa: TRY004 - pydantic's way
    return value


ID_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "minLength": 1, "maxLength": LONGEST_ID}, {"type": "integer"}]
}
NAMED = "x-named"
"""In a schema: the name of the one that stands in its place in the document."""

Id = Annotated[str, BeforeValidator(read_id), WithJsonSchema(ID_SCHEMA)]
INT64 = Field(json_schema_extra={"format": "int64"})
"""Of integers that typed languages must not take for 32 bits: times in seconds, numbers of events."""
Figure = Annotated[float | int | None, WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})]
Category = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Weight = Annotated[float, Strict(), Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]
ModelName = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Time = Annotated[
    AwareDatetime,
    BeforeValidator(_read_time),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]}),
]
Categories = Annotated[list[Category], Field(max_length=100)]


class Request(BaseModel):
    """Base of what callers send: an unknown field is an error, since it would silently do nothing."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class HasN(Request):
    """Base of requests for a list."""

    n: int = Field(10, ge=1)
    """How many items; at most the server's limit, 1,000 by default."""


class TopNQuery(HasN):
    """Query of the recommendations for a user."""

    offset: int = Field(0, ge=0, le=MAX_OFFSET)
    """How many places to skip; `next_offset` of the previous answer goes here."""
    exclude_seen: bool = True
    """Leave out what is in the user's history."""
    category: Categories = []
    """Recommend only items of any of these categories. May be repeated."""
    available_only: bool = True
    """Leave out what the catalogue calls unavailable. What is hidden is always left out."""
    diversity: float = Field(0.0, ge=0.0, le=1.0, allow_inf_nan=False)
    """From relevance alone, 0, to items as unlike each other as can be found among the best, 1."""
    explain: int = Field(0, ge=0, le=MAX_EXPLAIN)
    """Name so many items of the history that speak for each recommended one."""
    strict: bool = False
    """Answer 404 for an unknown user, in place of popular items: one without events, whom the model has not learned of."""
    model: ModelName = "current"
    """Which model: `current`, a stored version, or a name from the server's settings."""


class SimilarQuery(HasN):
    """Query of the items similar to one."""

    available_only: bool = True
    """Leave out what the catalogue calls unavailable."""
    model: ModelName = "current"
    """Which model: `current`, a stored version, or a name from the server's settings."""


class PopularQuery(HasN):
    """Query of the most popular items."""

    category: Categories = []
    """Only items of any of these categories. May be repeated."""
    available_only: bool = True
    """Leave out what the catalogue calls unavailable."""


class HistoryItem(Request):
    """One item of a history."""

    item_id: Id
    weight: Weight | None = None
    """How much it counts, above 0, or the rating given to a model of ratings. Default: 1, or the highest rating. Refused by models
    that go by order."""
    timestamp: Time | None = None
    """When it happened: ISO 8601 with a zone, or seconds since 1970; without a time it comes last. Models that go by order read the history in this order, and as
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
    available_only: StrictBool = True
    """Leave out what the catalogue calls unavailable. What is hidden is always left out."""


class History(Request):
    """Whom a request is about: a user, a history, or both; with neither the popular items are the answer."""

    user_id: Id | None = None
    """The user's history is read from the event log as it is now, and `items` are added to it."""
    items: list[
        Annotated[HistoryItem, BeforeValidator(_as_object, json_schema_input_type=Id | HistoryItem)]
    ] = []
    """The history: ids, or objects with a weight. At most the server's limit, 10,000 by default."""
    explain: Annotated[int, Strict(), Field(ge=0, le=MAX_EXPLAIN)] = 0
    """Name so many items of the history that speak for each recommended one."""
    strict: StrictBool = False
    """Answer 404 for an unknown user, in place of popular items: one without events, whom the model has not learned of."""
    model: ModelName = "current"
    """Which model: `current`, a stored version, or a name from the server's settings."""


class TopNRequest(History, HasN):
    """Whom to recommend to, and what."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "42", "n": 5, "explain": 2},
                {"items": ["1", {"item_id": "1196", "weight": 2.0}], "filter": {"exclude_items": ["260"]}},
            ]
        }
    )
    n: Annotated[int, Strict(), Field(ge=1)] = 10
    """How many items; at most the server's limit, 1,000 by default."""
    offset: Annotated[int, Strict(), Field(ge=0, le=MAX_OFFSET)] = 0
    """How many places to skip; `next_offset` of the previous answer goes here."""
    exclude_seen: StrictBool = True
    """Leave out what is in the history."""
    diversity: Annotated[float, Strict(), Field(ge=0.0, le=1.0, allow_inf_nan=False)] = 0.0
    """From relevance alone, 0, to items as unlike each other as can be found among the best, 1."""
    filter: Filter = Field(default_factory=Filter)
    """Which items may be recommended. Default: all that are available."""


class RankRequest(History):
    """A list to put in order for somebody."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user_id": "42", "candidates": ["1", "50", "318"]}]}
    )
    candidates: list[Id] = Field(min_length=1)
    """The items to rank; all are answered but those that are unknown or hidden, and one that is named twice is ranked once. At
    most 10,000 by default."""


class Answer(BaseModel):
    """Base of what the server sends."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)


class ExplanationOut(Answer):
    """An item of the history that speaks for a recommended one."""

    item_id: str
    title: str | None
    """With its year, if the catalogue has one."""
    contribution: float
    """What it adds to the score, in the unit of the scores."""


class RankedItemOut(Answer):
    """One place in a ranking."""

    item_id: str
    score: float
    """Comparable within one answer only."""
    rank: int
    """From 1, over all pages."""
    title: str | None
    """With its year, if the catalogue has one."""


class RecommendedItem(RankedItemOut):
    """One place in a ranking for somebody."""

    explanation: tuple[ExplanationOut, ...] = ()
    """Only if it was asked for: the items of the history that speak for this one, the strongest first."""


class RecommendationList(Answer):
    """Recommended items, best first."""

    recommendation_id: str
    """Name it in the events that this answer leads to, and `recae experiment report` knows what came of it."""
    model_version: str
    user_id: str | None
    strategy: Literal["model", "fold_in", "fallback"]
    """`model`: from what the model learned of the user. `fold_in`: from the history in the event log or the request, read now.
    `fallback`: the most popular, since nothing is known that the model could go by."""
    items: list[RecommendedItem]
    short: str | None
    """Why there are fewer items than asked for."""
    unknown_items: list[str]
    """Ids of the request that the model does not know; they were left out."""
    next_offset: int | None
    """Where the next page begins, if there is one."""
    took_ms: float
    """Milliseconds in the server."""


class PopularList(Answer):
    """Items that most users have, lately if that is known and else among all training users, most popular first; the score is
    their number.
    """

    model_version: str
    items: list[RankedItemOut]
    short: str | None
    """Why there are fewer items than asked for."""
    took_ms: float
    """Milliseconds in the server."""


class SimilarList(Answer):
    """Items similar to one, nearest first."""

    item_id: str
    title: str | None
    model_version: str
    items: list[RankedItemOut]
    short: str | None
    """Why there are fewer items than asked for."""
    took_ms: float
    """Milliseconds in the server."""


class ErrorDetail(Answer):
    """What went wrong."""

    code: str
    """For programs; does not change. 400: `bad_request`, `malformed_json`. 401: `unauthorized`. 403: `forbidden`,
    `foreign_host`, `foreign_origin`. 404: `not_found`, `unknown_user`, `unknown_item`, `unknown_model`, `unknown_run`,
    `no_evaluation`. 405: `method_not_allowed`. 409: `busy`, `not_promoted`. 413: `body_too_large`. 414, 431: `bad_request`.
    415: `unsupported_media_type`. 422: `invalid_field`. 429: `rate_limited`. 500: `internal_error`. 503: `not_ready`,
    `not_begun`, `event_log_unavailable`, `store_damaged`."""
    message: str
    """For people: what was found, what was expected, what to do."""
    field: str | None = None
    """The part of the request that is meant."""


class ErrorBody(Answer):
    """The one shape of every error."""

    error: ErrorDetail
    request_id: str
    """As in the header `X-Request-ID`, and in the server's log."""
