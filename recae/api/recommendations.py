"""Top-N for a user, and for any history."""

import uuid
from datetime import UTC, datetime
from http import HTTPStatus

from flask import Blueprint

from recae.api.context import check_length, current_recommender, path_id, took_ms, wanted_n
from recae.api.errors import ApiError
from recae.api.metrics import count_recommendation
from recae.api.schemas import HistoryItem, RankedItemOut, RecommendationList, TopNQuery, TopNRequest
from recae.api.spec import documented
from recae.recommender import Recommendations

bp = Blueprint("recommendations", __name__, url_prefix="/v1")

NEVER_OUTDATED = datetime.max.replace(tzinfo=UTC)


@bp.get("/users/<path:user_id>/recommendations")
@documented("recommend_for_user", tag="recommend", ok=RecommendationList, errors=(404, 503))
def recommend_for_user(user_id: str, query: TopNQuery) -> RecommendationList:
    """Suggest items to one user, best first.

    A user without a known history gets the most popular items, or 404 with `strict=true`.
    """
    user_id = path_id(user_id, "user_id")
    recommender = current_recommender()
    if query.strict and not recommender.knows_user(user_id):
        message = f"user {user_id!r} is not in the log this model learned from"
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_user", message, "user_id")
    found = recommender.recommend(
        n=wanted_n(query),
        user_id=user_id,
        offset=query.offset,
        exclude_seen=query.exclude_seen,
        categories=query.category,
    )
    return _answer(found, user_id)


@bp.post("/recommendations")
@documented("recommend_for_history", tag="recommend", ok=RecommendationList, errors=(400, 413, 415, 503))
def recommend_for_history(json: TopNRequest) -> RecommendationList:
    """Suggest items for a history the server need not know, best first.

    With `user_id`, what is known about the user counts too. Without any known item, the most popular are the answer.
    """
    check_length(json.items, "items")
    check_length(json.filter.include_items, "filter.include_items")
    check_length(json.filter.exclude_items, "filter.exclude_items")
    found = current_recommender().recommend(
        _history(json.items),
        wanted_n(json),
        user_id=json.user_id,
        offset=json.offset,
        exclude_seen=json.exclude_seen,
        include_items=json.filter.include_items,
        exclude_items=json.filter.exclude_items,
        categories=json.filter.categories,
    )
    return _answer(found, json.user_id)


def _history(items: list[HistoryItem]) -> dict[str, float | None]:
    """Item id -> weight, earliest first; of an item that comes twice the latest counts, the later one among equals."""
    in_time = sorted(items, key=lambda item: item.timestamp or NEVER_OUTDATED)  # stable
    weights: dict[str, float | None] = {}
    for item in in_time:
        weights.pop(item.item_id, None)  # it moves to its later place: some models go by the order
        weights[item.item_id] = item.weight
    return weights


def _answer(found: Recommendations, user_id: str | None) -> RecommendationList:
    count_recommendation(found.strategy, took_ms() / 1000)
    return RecommendationList(
        recommendation_id=f"r_{uuid.uuid4().hex}",
        model_version=current_recommender().version,
        user_id=user_id,
        strategy=found.strategy,
        items=[RankedItemOut.model_validate(item) for item in found.items],
        short=found.short,
        unknown_items=list(found.unknown_items),
        next_offset=found.next_offset,
        took_ms=took_ms(),
    )
