"""What is known about items: which are alike, popular, or named by some words, and the catalogue's lines."""

from http import HTTPStatus
from typing import Any

from flask import Blueprint, current_app

from recae.api.context import current_recommender, path_id, state, took_ms, wanted_n
from recae.api.errors import ApiError
from recae.api.item_schemas import (
    FoundItem,
    FoundItems,
    ItemBody,
    ItemChange,
    ItemDeleted,
    ItemOut,
    SearchQuery,
)
from recae.api.schemas import PopularList, PopularQuery, RankedItemOut, SimilarList, SimilarQuery
from recae.api.spec import documented
from recae.api.titles import TitleIndex
from recae.data.eventlog.items import StoredItem
from recae.errors import UnknownIdError

bp = Blueprint("items", __name__, url_prefix="/v1")

INDEX = "recae.titles"


@bp.get("/items/<id:item_id>/similar")
@documented("similar_items", tag="items", ok=SimilarList, errors=(404, 503))
def similar_items(item_id: str, query: SimilarQuery) -> SimilarList:
    """The items most like one item, nearest first, without the item itself."""
    item_id = path_id(item_id, "item_id")
    recommender = current_recommender(query.model)
    found = recommender.similar(item_id, wanted_n(query), available_only=query.available_only)
    return SimilarList(
        item_id=item_id,
        title=recommender.title(item_id),
        model_version=recommender.version,
        items=[RankedItemOut.model_validate(item) for item in found.items],
        short=found.short,
        took_ms=took_ms(),
    )


@bp.get("/popular")
@documented("popular_items", tag="items", ok=PopularList, errors=(503,))
def popular_items(query: PopularQuery) -> PopularList:
    """What most users had lately, or if that is not known, what most of the training log have; most popular first."""
    recommender = current_recommender()
    found = recommender.popular(wanted_n(query), query.category, available_only=query.available_only)
    return PopularList(
        model_version=recommender.version,
        items=[RankedItemOut.model_validate(item) for item in found.items],
        short=found.short,
        took_ms=took_ms(),
    )


@bp.get("/items")
@documented("search_items", tag="items", ok=FoundItems, errors=(503,))
def search_items(query: SearchQuery) -> FoundItems:
    """Items of the model by the words of their titles. What is hidden is not found."""
    found = _titles().search(query.query, query.n)
    return FoundItems(items=[FoundItem(item_id=item.item_id, title=item.title) for item in found])


@bp.get("/items/<id:item_id>")
@documented("get_item", tag="items", ok=ItemOut, errors=(404, 503))
def get_item(item_id: str) -> ItemOut:
    """One item as the catalogue has it: the stored line, or the one that the model was trained with."""
    return _shown(_found(path_id(item_id, "item_id")))


@bp.put("/items/<id:item_id>")
@documented("put_item", tag="items", ok=ItemOut, errors=(404, 503))
def put_item(item_id: str, json: ItemBody) -> ItemOut:
    """Store an item, whole. Recommendations go by it from now on, in every process of this server; others over the same database follow within a second."""
    item = StoredItem(path_id(item_id, "item_id"), **_fields(json.model_dump()))
    state().storage.items.put([item])
    state().served.items_changed()
    return _shown(item)


@bp.patch("/items/<id:item_id>")
@documented("patch_item", tag="items", ok=ItemOut, errors=(404, 503))
def patch_item(item_id: str, json: ItemChange) -> ItemOut:
    """Change some fields of an item; `title` and `year` may be set to null. The others stay as they are."""
    item_id = path_id(item_id, "item_id")
    given = json.model_dump(exclude_unset=True)
    before = _found(item_id)

    def changed(stored: StoredItem | None) -> StoredItem:
        return StoredItem(**vars(stored or before) | _fields(given))

    item = state().storage.items.change(item_id, changed)
    state().served.items_changed()
    return _shown(item)


@bp.delete("/items/<id:item_id>")
@documented("delete_item", tag="items", ok=ItemDeleted, errors=(404, 503))
def delete_item(item_id: str) -> ItemDeleted:
    """Remove an item. It is not recommended any more, although the model knows it, until it is stored again."""
    item_id = path_id(item_id, "item_id")
    _found(item_id)
    state().storage.items.remove(item_id)
    state().served.items_changed()
    return ItemDeleted(item_id=item_id)


def _titles() -> TitleIndex:
    """The index of the recommender in service; made anew when that, or a line of its catalogue, has changed."""
    recommender = current_recommender()
    index: TitleIndex | None = current_app.extensions.get(INDEX)
    if index is None or not index.is_of(recommender):
        index = current_app.extensions[INDEX] = TitleIndex(recommender)
    return index


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    if "categories" in given:
        given["categories"] = tuple(given["categories"])
    return given


def _found(item_id: str) -> StoredItem:
    """The stored line, else the one that the model in service brought, unless the item was removed.

    Raises:
        ApiError: 404, if there is neither.
    """
    try:
        return state().storage.items.get(item_id)
    except UnknownIdError:
        recommender, is_removed = current_recommender(), state().served.is_removed(item_id)
        if item_id not in recommender.items or is_removed:
            what = "was removed" if is_removed else "is neither stored nor known to the model in service"
            message = f"item {item_id!r} {what}; PUT stores one"
            raise ApiError(HTTPStatus.NOT_FOUND, "unknown_item", message, "item_id") from None
        line = recommender.item(item_id)
        return StoredItem(item_id, line.title, line.year, line.categories, line.available, line.hidden)


def _shown(item: StoredItem) -> ItemOut:
    version_in_service = state().served.peek()
    known = version_in_service is not None and item.item_id in version_in_service.items
    return ItemOut(**vars(item), known_to_model=known)
