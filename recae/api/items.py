"""What is known about items: which are alike."""

from flask import Blueprint

from recae.api.context import current_recommender, path_id, took_ms, wanted_n
from recae.api.schemas import RankedItemOut, SimilarList, SimilarQuery
from recae.api.spec import documented

bp = Blueprint("items", __name__, url_prefix="/v1/items")


@bp.get("/<path:item_id>/similar")
@documented("similar_items", tag="items", ok=SimilarList, errors=(404, 503))
def similar_items(item_id: str, query: SimilarQuery) -> SimilarList:
    """The items most like one item, nearest first, without the item itself."""
    item_id = path_id(item_id, "item_id")
    recommender = current_recommender()
    found = recommender.similar(item_id, wanted_n(query))
    return SimilarList(
        item_id=item_id,
        title=recommender.title(item_id),
        model_version=recommender.version,
        items=[RankedItemOut.model_validate(item) for item in found.items],
        short=found.short,
        took_ms=took_ms(),
    )
