"""The page at `/`: try the model in a browser. It asks the same API as everybody, with the key that its reader gives."""

from flask import Blueprint, Response, current_app, render_template
from pydantic import Field

import recae
from recae.api.context import current_recommender, state
from recae.api.schemas import Answer, Request
from recae.api.spec import documented
from recae.api.titles import TitleIndex

bp = Blueprint(
    "explorer", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)

INDEX = "recae.titles"


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


@bp.get("/v1/items")
@documented("search_items", tag="items", ok=FoundItems, errors=(503,))
def search_items(query: SearchQuery) -> FoundItems:
    """Items of the model by the words of their titles. What is hidden is not found."""
    found = _titles().search(query.query, query.n)
    return FoundItems(items=[FoundItem(item_id=item.item_id, title=item.title) for item in found])


@bp.get("/")
def explorer() -> Response:
    """The page itself; it holds nothing of the catalogue, so it needs no key."""
    page = render_template("explorer.html", version=state().served.version, code_version=recae.__version__)
    return Response(page, mimetype="text/html")


def _titles() -> TitleIndex:
    """The index of the recommender in service; made anew when that, or a line of its catalogue, has changed."""
    recommender = current_recommender()
    index: TitleIndex | None = current_app.extensions.get(INDEX)
    if index is None or index.recommender is not recommender:
        index = current_app.extensions[INDEX] = TitleIndex(recommender)
    return index
