"""The OpenAPI document, made from the routes and their schemas, and the checks that keep requests to it.

SpecTree makes the document. The checks are ours: SpecTree would validate answers a second time, read every header, and
take an unreadable body for an empty one.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from inspect import signature
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qs

from flask import Response as FlaskResponse
from flask import request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from spectree import Response, SecurityScheme, SpecTree
from spectree.models import InType, SecureType, SecuritySchemeData

import recae
from recae.api.bodies import read_json, refuse_query
from recae.api.description import described
from recae.api.errors import invalid, refuse_invalid
from recae.api.schemas import ErrorBody

ERRORS = {
    400: "The body is no JSON",
    401: "The server asks for a key and knows none of what was sent",
    403: "The key's role does not include this; or the server has no keys, and the request comes from elsewhere",
    404: "There is nothing that the path names, or the model named does not exist",
    409: "The state of the server does not allow it; the message tells why",
    413: "The body is larger than this server takes",
    415: "The body is not declared as JSON",
    422: "A part of the request, named by `field`, cannot be used",
    429: "The key asks more often than it may; try again after `Retry-After` seconds",
    500: "The server made a mistake; its log tells more under the `request_id`",
    503: "No model is loaded yet, the event log cannot be reached or the model store is damaged; try again after "
    "`Retry-After` seconds. With the code `not_begun` a retraining may go on all the same: look at "
    "`GET /v1/admin/runs` before beginning another",
}
"""In the document's words, not Python's phrases, which change between its versions."""

BODY_ERRORS = (400, 413, 415)

T = TypeVar("T", bound=BaseModel)
Body: TypeAlias = BaseModel | Mapping[str, Any]
View: TypeAlias = Callable[..., Body]
Route: TypeAlias = Callable[..., ResponseReturnValue]

ABOUT = """Recommendations from an autoencoder: for users as the event log knows them now, for any history, and by similarity;
and the events and items they are made from.

To begin: ask `GET /v1/users/{user_id}/recommendations` for somebody whom the event log knows, or `POST /v1/recommendations`
with the items that somebody likes; `explain` names the reasons. Tell what people do with `POST /v1/events`, each event with the
`recommendation_id` of the answer that led to it: it counts in the next answer. `POST /v1/recommendations/batch` answers for many.

Where keys are set up, send yours in `X-API-Key`. Ids are strings. An answer holds exactly `n` items, or `short` says why not. Every
error has one shape, `ErrorBody`: go by its `code`. After 429 and 503 ask again when `Retry-After` says."""

tree = SpecTree(
    "flask",
    title="recae",
    version=recae.__version__,
    description=ABOUT,
    mode="strict",
    security_schemes=[
        SecurityScheme(
            name="key",
            data=SecuritySchemeData(type=SecureType.API_KEY, name="X-API-Key", field_in=InType.HEADER),
        ),
        SecurityScheme(name="bearer", data=SecuritySchemeData(type=SecureType.HTTP, scheme="bearer")),
    ],
    validation_error_model=ErrorBody,
    naming_strategy=lambda model: model.__name__,
    nested_naming_strategy=lambda _parent, child: child,
)


def documented(
    operation_id: str, *, tag: str, ok: type[BaseModel], errors: tuple[int, ...] = (), status: int = 200
) -> Callable[[View], Route]:
    """Validate a view's ``query`` and ``json`` parameters, turn its answer into JSON, and document both.

    The view returns a schema, or for speed a dictionary that is known to follow it.

    Args:
        operation_id: its name in the OpenAPI document.
        tag: the group it is shown in.
        ok: schema of the answer.
        errors: statuses it may answer with, beside 422, 500 and those of bodies.
        status: of the answer.
    """

    def decorate(view: View) -> Route:
        schemas: dict[str, Any] = {name: view.__annotations__.get(name) for name in ("query", "json")}
        guarded = tag != "operations"
        of_access = (401, 403, 429) if guarded else ()
        all_errors = sorted({*errors, *(BODY_ERRORS if schemas["json"] else ()), *of_access, 422, 500})
        models: dict[str, Any] = {f"HTTP_{code}": (ErrorBody, ERRORS[code]) for code in all_errors}
        response = Response(**{f"HTTP_{status}": (ok, "The answer")}, **models)
        known = tree.validate(resp=response, tags=[tag], operation_id=operation_id)(view)
        takes_query, takes_json = (name in signature(view).parameters for name in ("query", "json"))

        @wraps(known)
        def route(**arguments: Any) -> ResponseReturnValue:
            if takes_query:
                arguments["query"] = read_query(schemas["query"], request.query_string)
            elif request.query_string:
                refuse_query(request.args, has_body=takes_json)
            if takes_json:
                arguments["json"] = validated(schemas["json"], read_json())
            return answer_with(view(**arguments), status)

        return route

    return decorate


def document() -> dict[str, Any]:
    """The OpenAPI document of the current application."""
    return described(json.loads(json.dumps(tree.spec)))


def answer_with(body: Body, status: int = 200) -> FlaskResponse:
    """A response of JSON."""
    return FlaskResponse(_json(body), status=status, mimetype="application/json")


@lru_cache(maxsize=4_096)
def read_query(schema: type[BaseModel], query_string: bytes) -> Any:
    """The query as its schema has it. Schemas of queries are not changed by views, so equal ones are read once.

    Raises:
        ApiError: 422, if it does not fit.
    """
    text = query_string.decode("utf-8", "replace")
    try:
        pairs = parse_qs(text, keep_blank_values=True, errors="replace")
    except ValueError:
        raise invalid("query", "it has too many parts") from None
    single = {
        name: values[0] if len(values) == 1 and not _is_list(schema, name) else values
        for name, values in pairs.items()
    }
    return validated(schema, single)


def _is_list(schema: type[BaseModel], name: str) -> bool:
    field = schema.model_fields.get(name)
    return field is not None and getattr(field.annotation, "__origin__", None) is list


def validated(schema: type[T], value: Any) -> T:
    """What JSON says, as a schema has it.

    Raises:
        ApiError: 422, if it does not fit.
    """
    if isinstance(value, dict | list):
        try:
            return schema.model_validate(value)
        except ValidationError as error:
            refuse_invalid(error)
    raise invalid("body", "expected a JSON object: { ... }")


def _json(body: Body) -> str | bytes:
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=False)
    return to_json(body, inf_nan_mode="null")  # a fifth of the time of json
