"""Top-N for a user and for any history, one at a time or many, and the order of a list."""

import logging
import secrets
import time
from typing import Any

from flask import Blueprint, g
from pydantic import ValidationError

from recae.api.asking import Asked, asked_of
from recae.api.batch_schemas import BatchAnswer, BatchRequest
from recae.api.context import check_length, current_recommender, path_id, state, took_ms, wanted_n
from recae.api.errors import ApiError, detail_of, invalid, refuse_invalid
from recae.api.experiments import variant_of
from recae.api.metrics import count_recommendation
from recae.api.schemas import (
    History,
    RankRequest,
    RecommendationList,
    TopNQuery,
    TopNRequest,
)
from recae.api.spec import documented
from recae.data.eventlog.together import ReadsUsers
from recae.errors import DataError, EventLogError
from recae.recommender import Prepared, Query, RankedItem, Recommendations, Recommender

logger = logging.getLogger(__name__)
bp = Blueprint("recommendations", __name__, url_prefix="/v1")


@bp.get("/users/<id:user_id>/recommendations")
@documented("recommend_for_user", tag="recommend", ok=RecommendationList, errors=(404, 503))
def recommend_for_user(user_id: str, query: TopNQuery) -> dict[str, Any]:
    """Suggest items to one user, best first.

    The user's history is read from the event log as it is now. A user without a known history gets the most popular
    items, or 404 with `strict=true`.
    """
    return suggested(path_id(user_id, "user_id"), query)


def suggested(user_id: str, query: TopNQuery) -> dict[str, Any]:
    """What the route above answers, for an id that was read."""
    recommender = _recommender_for(user_id, query)
    asked = asked_of(recommender, user_id, None, strict=query.strict)
    began = time.perf_counter()
    found = recommender.recommend(
        asked.history,
        wanted_n(query),
        offset=query.offset,
        exclude_seen=query.exclude_seen,
        categories=query.category,
        available_only=query.available_only,
        diversity=query.diversity,
        explain=query.explain,
        seen=asked.seen,
    )
    fold_in_s = time.perf_counter() - began
    return _recorded(_answer(recommender, found, user_id, asked, fold_in_s), recommender, user_id, query)


@bp.post("/recommendations")
@documented("recommend_for_history", tag="recommend", ok=RecommendationList, errors=(404, 503))
def recommend_for_history(json: TopNRequest) -> dict[str, Any]:
    """Suggest items for a history the server need not know, best first.

    With `user_id`, the history in the event log counts too. Without any known item, the most popular are the answer.
    """
    recommender, asked, prepared = _understood(json)
    began = time.perf_counter()
    found = recommender.answer([prepared])[0]
    body = _answer(recommender, found, json.user_id, asked, time.perf_counter() - began)
    return _recorded(body, recommender, json.user_id, json)


@bp.post("/recommendations/batch")
@documented("recommend_batch", tag="recommend", ok=BatchAnswer, errors=(404, 503))
def recommend_batch(json: BatchRequest) -> dict[str, Any]:
    """Answer many requests at once: one pass through the model for all of them.

    A part that cannot be answered has the status and the error it would have alone; the others are answered.
    """
    limit = state().settings.max_batch
    if len(json.requests) > limit:
        raise invalid("requests", f"{len(json.requests)} requests are over this server's limit of {limit}")
    defaults = json.model_dump(include={"n", "model"}, exclude_none=True)
    results: list[dict[str, Any]] = [{} for _ in json.requests]
    requests: dict[int, TopNRequest] = {}
    for place, part in enumerate(json.requests):
        try:
            requests[place] = _part(part, defaults)
        except ApiError as error:
            results[place] = _failed(error)
    by_model: dict[str, list[tuple[int, TopNRequest, Asked, Prepared]]] = {}
    recommenders: dict[str, Recommender] = {}  # by what their names stand for, and by version
    users = [each.user_id for each in requests.values() if each.user_id is not None]
    log, no_log = _log_of(users)
    for place, request in requests.items():
        if no_log is not None and request.user_id is not None:
            # asked again for each part, it would be waited for each time
            results[place] = _failed(no_log)
            continue
        try:
            recommender, asked, prepared = _understood(request, recommenders, log)
        except EventLogError as error:
            no_log = error
            logger.error("request %s failed in part: %s", g.request_id, error)  # noqa: TRY400 - no bug of ours
            results[place] = _failed(error)
        except (ApiError, DataError) as error:
            results[place] = _failed(error)
        else:
            by_model.setdefault(recommender.version, []).append((place, request, asked, prepared))
    for version, parts in by_model.items():
        recommender = recommenders[version]
        began = time.perf_counter()
        answers = recommender.answer([prepared for *_, prepared in parts])
        share = (time.perf_counter() - began) / len(parts)  # of the pass that all of them took together
        for (place, request, asked, _), found in zip(parts, answers, strict=True):
            body = _answer(recommender, found, request.user_id, asked, share, share)
            _recorded(body, recommender, request.user_id, request)
            results[place] = {"status": 200, "body": body, "error": None}
    return {"results": results, "took_ms": took_ms()}


@bp.post("/rank")
@documented("rank", tag="recommend", ok=RecommendationList, errors=(404, 503))
def rank(json: RankRequest) -> dict[str, Any]:
    """Put a list of items in order for a user or a history, best first.

    What the user has seen and what is unavailable is ranked too: the caller has chosen it. A candidate that is named
    twice is ranked once. `unknown_items` names what the model does not know, and what is hidden is left out; `short`
    counts both.
    """
    check_length(json.items, "items")
    check_length(json.candidates, "candidates")
    recommender = _recommender_for(json.user_id, json)
    asked = asked_of(recommender, json.user_id, json, strict=json.strict)
    began = time.perf_counter()
    found = recommender.rank_candidates(asked.history, json.candidates, explain=json.explain)
    body = _answer(recommender, found, json.user_id, asked, time.perf_counter() - began)
    _recorded(body, recommender, json.user_id, json)
    unknown = [item_id for item_id in json.candidates if item_id not in recommender.items]
    return body | {"unknown_items": list(dict.fromkeys([*asked.unknown, *unknown]))}


def _recommender_for(
    user_id: str | None, asked: TopNQuery | History, known: dict[str, Recommender] | None = None
) -> Recommender:
    """The model that the request names; the one of the user's variant, if it names none and an experiment runs.

    Args:
        user_id: whom the request is about.
        asked: the request.
        known: what the parts of a batch before it have found, to which this one adds.
    """
    variant = _variant(user_id, asked)
    if variant is not None:
        try:
            return _model_named(variant, known)
        except ApiError as error:  # a variant that cannot be loaded must not cost its users their answers
            logger.warning("variant %s of the experiment cannot serve: %s", variant, error.message)
    return _model_named(asked.model, known)


def _model_named(model: str, known: dict[str, Recommender] | None) -> Recommender:
    """A model by its name: for all parts of a batch the same, in the same state, whatever is promoted meanwhile."""
    if known is None:
        return current_recommender(model)
    meant = state().served.meaning_of(model)
    if meant not in known:
        fresh = current_recommender(model)
        known[meant] = known.setdefault(fresh.version, fresh)
    return known[meant]


def _variant(user_id: str | None, asked: TopNQuery | History) -> str | None:
    experiment = state().settings.experiment
    if experiment is None or user_id is None or "model" in asked.model_fields_set:
        return None
    return variant_of(experiment, user_id)


def _recorded(
    body: dict[str, Any], recommender: Recommender, user_id: str | None, asked: TopNQuery | History
) -> dict[str, Any]:
    """The answer, once it is noted for the experiment that it belongs to, if any."""
    api, variant = state(), _variant(user_id, asked)
    if variant is not None and user_id is not None and api.settings.experiment is not None:
        if recommender.version != api.served.version_of(variant):
            return body  # another model had to stand in
        api.recorder.record(
            body["recommendation_id"],
            user_id,
            recommender.version,
            body["strategy"],
            variant,
            api.settings.experiment.name,
        )
    return body


def _understood(
    asked: TopNRequest, known: dict[str, Recommender] | None = None, log: ReadsUsers | None = None
) -> tuple[Recommender, Asked, Prepared]:
    """Check one request against the server's limits, and find its model and its history."""
    check_length(asked.items, "items")
    check_length(asked.filter.include_items, "filter.include_items")
    check_length(asked.filter.exclude_items, "filter.exclude_items")
    n = wanted_n(asked)
    recommender = _recommender_for(asked.user_id, asked, known)
    found = asked_of(recommender, asked.user_id, asked, strict=asked.strict, log=log)
    unknown = [i for i in asked.filter.include_items or () if i not in recommender.items]
    found = found._replace(unknown=list(dict.fromkeys([*found.unknown, *unknown])))
    query = Query(
        history=found.history,
        n=n,
        offset=asked.offset,
        exclude_seen=asked.exclude_seen,
        include_items=asked.filter.include_items,
        exclude_items=asked.filter.exclude_items,
        categories=asked.filter.categories,
        available_only=asked.filter.available_only,
        diversity=asked.diversity,
        explain=asked.explain,
        seen=found.seen,
    )
    return recommender, found, recommender.prepare(query)


def _log_of(users: list[str]) -> tuple[ReadsUsers | None, EventLogError | None]:
    """The log of some users, or why it cannot be asked; neither if there are none."""
    try:
        return (state().storage.log.of_users(users) if users else None), None
    except EventLogError as error:
        logger.error("request %s failed in part: %s", g.request_id, error)  # noqa: TRY400 - no bug of ours
        return None, error


def _part(part: Any, defaults: dict[str, Any]) -> TopNRequest:
    if not isinstance(part, dict):
        raise invalid("requests", "each request is a JSON object: { ... }")
    try:
        return TopNRequest.model_validate(defaults | part)
    except ValidationError as error:
        refuse_invalid(error)


def _failed(error: Exception) -> dict[str, Any]:
    status, detail = detail_of(error)
    return {"status": int(status), "body": None, "error": detail.model_dump()}


def _answer(
    recommender: Recommender,
    found: Recommendations,
    user_id: str | None,
    asked: Asked,
    fold_in_s: float,
    seconds: float | None = None,
) -> dict[str, Any]:
    """The body of a `RecommendationList`: a dictionary, since validating what we have built takes longer than building it.

    Of the metrics are ``fold_in_s``, what the model took, and ``seconds``, the whole; None for all that the request took.
    """
    count_recommendation(found.strategy, took_ms() / 1000 if seconds is None else seconds, fold_in_s)
    return {
        "recommendation_id": f"r_{secrets.token_hex(16)}",
        "model_version": recommender.version,
        "user_id": user_id,
        "strategy": found.strategy,
        "items": [_ranked(item) for item in found.items],
        "short": found.short,
        "unknown_items": asked.unknown,
        "next_offset": found.next_offset,
        "took_ms": round((time.perf_counter() - g.started) * 1000, 3),
    }


def _ranked(item: RankedItem) -> dict[str, Any]:
    body: dict[str, Any] = {
        "item_id": item.item_id,
        "score": item.score,
        "rank": item.rank,
        "title": item.title,
    }
    if item.explanation:
        body["explanation"] = [vars(reason) for reason in item.explanation]
    return body
