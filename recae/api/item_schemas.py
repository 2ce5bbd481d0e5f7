"""What is said about items."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt

from recae.api.schemas import Answer, Categories, Request
from recae.data.eventlog.items import extra_text


def _without_zero(title: str) -> str:
    if "\0" in title:
        raise ValueError("a title holds no zero byte; this one does")
    return title


def _storable(extra: dict[str, Any]) -> dict[str, Any]:
    extra_text(extra)
    return extra


Title = Annotated[str, Field(min_length=1, max_length=1_000), AfterValidator(_without_zero)]
Year = Annotated[StrictInt, Field(ge=-9_999, le=9_999)]
Extra = Annotated[dict[str, Any], AfterValidator(_storable)]


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


UNCHANGED: Any = Field(default=None, json_schema_extra=_without_default)
"""Of a field that may be left out, and that null says nothing about."""


class ItemBody(Request):
    """An item, whole: what is not named gets its default."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Arrival", "year": 2016, "categories": ["Sci-Fi"]}]}
    )
    title: Title | None = None
    year: Year | None = None
    """Shown behind the title."""
    categories: Categories = Field(default=[])
    available: StrictBool = True
    """False for what cannot be had now: left out unless a request says `available_only: false`."""
    hidden: StrictBool = False
    """True for what must never be recommended."""
    extra: Extra = Field(default={})
    """Further fields, kept as they are; lists and objects at most 64 deep in each other."""


class ItemChange(Request):
    """Some fields of an item; the others stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"available": False}, {"year": None}]})

    title: Title | None = None
    """null takes it away."""
    year: Year | None = None
    """null takes it away."""
    categories: Categories = UNCHANGED
    available: StrictBool = UNCHANGED
    hidden: StrictBool = UNCHANGED
    extra: Extra = UNCHANGED


class ItemOut(Answer):
    """An item as the catalogue has it."""

    item_id: str
    title: str | None
    year: int | None
    categories: tuple[str, ...]
    available: bool
    hidden: bool
    extra: dict[str, Any]
    known_to_model: bool
    """Whether the model in service has learned of it; others cannot be recommended before the next training."""


class ItemDeleted(Answer):
    """An item that is gone from the catalogue; it is not recommended until it is stored again."""

    item_id: str
    deleted: bool = True


class SearchQuery(Request):
    """Query of the items by title."""

    query: str = Field(min_length=1, max_length=256)
    """Words of the title, or their beginnings, in any order and case; or an id."""
    n: int = Field(20, ge=1, le=100)
    """How many items at most."""


class FoundItem(Answer):
    """An item that was found."""

    item_id: str
    title: str | None
    """With its year."""


class FoundItems(Answer):
    """Items that were found: an id that equals the query, titles that begin with it, others; the most popular first."""

    items: list[FoundItem]
