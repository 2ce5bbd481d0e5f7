"""What every request has: an id, a clock, the limits, and one recommender from its start to its end."""

import json
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import BadRequest

from recae.api.errors import ApiError, invalid
from recae.api.schemas import SimilarQuery, TopNQuery, TopNRequest, read_id
from recae.api.serving import ServedModel
from recae.config import Settings
from recae.recommender import Recommender

EXTENSION = "recae"


@dataclass(frozen=True)
class ApiState:
    """What `create_app` hangs on the application."""

    settings: Settings
    served: ServedModel


def state() -> ApiState:
    """The state of the application that handles this request."""
    found: ApiState = current_app.extensions[EXTENSION]
    return found


def current_recommender() -> Recommender:
    """The recommender in service, the same one throughout a request.

    Raises:
        ApiError: 503, if no model is loaded yet.
    """
    if "recommender" not in g:
        g.recommender = state().served.recommender()
    found: Recommender = g.recommender
    return found


def wanted_n(asked: TopNQuery | TopNRequest | SimilarQuery) -> int:
    """How many items are wanted: what the caller says, or the default, as far as the server's limit goes.

    Raises:
        ApiError: 422, if the caller asks for more than the limit.
    """
    limit = state().settings.max_n
    if asked.n > limit and "n" in asked.model_fields_set:
        raise invalid("n", f"{asked.n} is over this server's limit of {limit} items")
    return min(asked.n, limit)


def check_length(values: Sequence[object] | None, field: str) -> None:
    """Refuse more history or filter items than the server's limit."""
    limit = state().settings.max_history
    if values is not None and len(values) > limit:
        raise invalid(field, f"{len(values)} items are over this server's limit of {limit}")


def path_id(value: str, field: str) -> str:
    """An id from the path, under the same rules as one in a body."""
    try:
        return read_id(value)
    except ValueError as error:
        raise invalid(field, str(error)) from error


def took_ms() -> float:
    """Milliseconds since the request came in."""
    seconds: float = time.perf_counter() - g.started
    return round(seconds * 1000, 3)


def register(app: Flask, check_access: Callable[[], None]) -> None:
    """Hook the start and end of every request; ``check_access`` decides before the body is read."""
    app.before_request(_begin)
    app.before_request(check_access)
    app.before_request(_check_body)
    app.after_request(_label)


def _begin() -> None:
    g.started = time.perf_counter()
    sent = request.headers.get("X-Request-ID", "")
    g.request_id = sent if re.fullmatch(r"[\w.-]{1,128}", sent, re.ASCII) else uuid.uuid4().hex


def _check_body() -> None:
    """Refuse what is no JSON object before SpecTree sees it: there an unreadable body counts as an empty one."""
    if request.method not in ("POST", "PUT", "PATCH") or request.url_rule is None:
        return
    if not request.is_json:
        found = request.mimetype or "nothing"
        message = f"the body is declared as {found}; send JSON with Content-Type: application/json"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    if request.args:
        name = next(iter(request.args))
        raise invalid(name, "this request takes everything in its body, and nothing in the query")
    limit = state().settings.max_body_bytes
    if len(request.get_data()) >= limit and request.stream.read(
        1
    ):  # of a chunked body nobody knew the length
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "body_too_large",
            f"the body is over this server's limit of {limit:,} bytes",
        )
    try:
        body = request.get_json()
    except (BadRequest, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "malformed_json", _fault(request.get_data())) from error
    if not isinstance(body, dict):
        raise invalid("body", "expected a JSON object: { ... }")


def _fault(body: bytes) -> str:
    if not body:
        return "the body is empty; expected a JSON object: { ... }"
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        return f"the body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        pass
    return "the body is no JSON that can be read; expected an object in UTF-8, nested a few levels deep"


def _label(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    used = g.recommender.version if "recommender" in g else state().served.version
    response.headers["X-Model-Version"] = used
    return response
