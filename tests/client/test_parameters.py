"""Nothing of the contract is out of the client's reach: each call with every argument given, against `api/openapi.json`."""

import json
import re
import types
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from recae.client import calls

SPEC = json.loads((Path(__file__).parents[2] / "api" / "openapi.json").read_text(encoding="utf-8"))
SCHEMAS = SPEC["components"]["schemas"]
OF_RANKING = {"user_id": "u", "explain": 1, "strict": True, "model": "m"}
OF_TOP_N = {
    "n": 1,
    "offset": 1,
    "exclude_seen": False,
    "categories": ["a"],
    "available_only": False,
    "diversity": 0.5,
}
OF_ITEM = {"title": "T", "year": 1, "categories": ["a"], "available": False, "hidden": True, "extra": {}}

IN_FULL = {
    "recommend_for_user": calls.recommend("u", **OF_TOP_N, explain=1, strict=True, model="m"),
    "recommend_for_history": calls.recommend_for_history(
        ["a"], **OF_TOP_N, **OF_RANKING, include_items=["a"], exclude_items=["b"]
    ),
    "recommend_batch": calls.batch([{}], n=1, model="m"),
    "rank": calls.rank(["a"], items=["b"], **OF_RANKING),
    "similar_items": calls.similar("a", n=1, available_only=False, model="m"),
    "popular_items": calls.popular(n=1, categories=["a"], available_only=False),
    "search_items": calls.search_items("q", n=1),
    "get_item": calls.get_item("a"),
    "put_item": calls.put_item("a", **OF_ITEM),
    "patch_item": calls.patch_item("a", **OF_ITEM),
    "delete_item": calls.delete_item("a"),
    "send_events": calls.send_events([{}]),
    "user_events": calls.user_events_page("u", n=1, cursor="1.1"),
    "delete_user": calls.delete_user("u"),
    "list_models": calls.models(),
    "promote_model": calls.promote("v"),
    "rollback_model": calls.rollback(),
    "latest_evaluation": calls.evaluation(),
    "begin_retrain": calls.retrain(),
    "list_runs": calls.runs(n=1),
    "show_run": calls.run("r"),
    "live": calls.live(),
    "ready": calls.ready(),
}
TEXTS = {"metrics", "openapi", "docs", "latest_report"}
"""For people, generators and Prometheus."""
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, operations in SPEC["paths"].items()
    for method, operation in operations.items()
    if operation["operationId"] not in TEXTS
}
CARRIED_WHOLE = {"requests", "items", "events", "extra"}
"""Fields whose parts are the caller's own objects, sent as they come."""


def resolved(schema):
    return SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def of_body(operation):
    """Names of a body's fields, and of those inside them: ``filter.categories``."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    names = set()
    body = body.get("anyOf", [body])[0]  # events may stand without the object around them
    for name, field in resolved(body).get("properties", {}).items():
        inner = resolved(field).get("properties", {})
        names |= {f"{name}.{part}" for part in inner} if inner and name not in CARRIED_WHOLE else {name}
    return names


def sent(body):
    if isinstance(body, list):  # events, without the object around them
        return {"events"}
    names = set()
    for name, value in (body or {}).items():
        whole = not isinstance(value, dict) or name in CARRIED_WHOLE
        names |= {name} if whole else {f"{name}.{part}" for part in value}
    return names


def test_every_operation_has_a_call():
    assert set(IN_FULL) == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_parameter_of_an_operation_can_be_sent_and_no_other(name):
    method, path, operation = OPERATIONS[name]
    call = IN_FULL[name]

    assert call.method == method
    assert re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), call.path)
    in_query = {part["name"] for part in operation.get("parameters", ()) if part["in"] == "query"}
    assert set(call.params) == in_query
    assert sent(call.body) == of_body(operation)


def lost(schema, answer, place):
    """Fields of an answer's schema that its dataclass has no place for."""
    schema = resolved(schema)
    held = {field.name for field in fields(answer)}
    if "raw" in held:
        return []
    found = [f"{place}.{name}" for name in schema.get("properties", {}) if name not in held]
    for name, hint in typing.get_type_hints(answer).items():
        of_list = typing.get_args(hint) if typing.get_origin(hint) in (tuple, types.UnionType) else ()
        inner = next((part for part in (hint, *of_list) if is_dataclass(part)), None)
        if inner is not None:
            field = schema["properties"].get(name, {})
            options = field.get("anyOf", [field.get("items", field)])
            found += lost(options[0], inner, f"{place}.{name}")
    return found


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_field_of_an_answer_has_its_place_in_what_the_client_returns(name):
    responses = OPERATIONS[name][2]["responses"]
    (response,) = [response for status, response in responses.items() if status.startswith("2")]

    assert lost(response["content"]["application/json"]["schema"], IN_FULL[name].answer, name) == []
