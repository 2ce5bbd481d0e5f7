"""One JSON shape for every error, whoever raises it: a route, pydantic, Flask, or a bug."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import NoReturn

from flask import Flask, Response, current_app, g
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from recae.api.schemas import ErrorBody, ErrorDetail
from recae.errors import ArtifactError, BusyLogError, DataError, EventLogError, RecaeError, UnknownIdError

CODES = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal_error",
}
"""Of Flask's own errors. Not made from Python's phrases, which change between its versions."""

RETRY_AFTER_S = 5
MAX_SHOWN = 60
"""Characters of a caller's value that a message repeats."""
LOG_UNAVAILABLE = "the event log cannot be reached now; the server's log tells more under this request_id"


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status.
        code: what programs look at.
        message: what was found, what was expected, what to do.
        field: the part of the request that is meant.
        headers: what the answer carries besides.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        field: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.headers = dict(headers or {})


def invalid(field: str, message: str) -> ApiError:
    """422 for one field of the request."""
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_field", f"{field}: {message}", field)


def not_ready(reason: str) -> ApiError:
    """503: no model is loaded."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", reason)


def store_damaged(reason: str) -> ApiError:
    """503: what was asked for is stored, and cannot be read."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "store_damaged", reason)


def refuse_invalid(error: ValidationError) -> NoReturn:
    """Make the first complaint about a request the answer.

    Raises:
        ApiError: 422, always.
    """
    complaints = error.errors(include_url=False, include_context=False)
    first = complaints[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] not in ("value_error", "missing", "extra_forbidden"):
        message += f" (found {_shown(first['input'])})"
    if len(complaints) > 1:
        message += f"; {len(complaints) - 1} more field(s) are wrong"
    raise invalid(_path(first["loc"]), message) from error


def register(app: Flask) -> None:
    """Let every error of the application come out in the one shape."""
    app.register_error_handler(ApiError, _of_api_error)
    app.register_error_handler(RecaeError, _of_recae_error)
    app.register_error_handler(HTTPException, _of_http_exception)
    app.register_error_handler(Exception, _of_bug)


def response_of(error: Exception) -> Response:
    """What `register` makes of an error that is none of Flask's own."""
    if isinstance(error, ApiError):
        return _of_api_error(error)
    return _of_recae_error(error) if isinstance(error, RecaeError) else _of_bug(error)


def detail_of(error: Exception) -> tuple[int, ErrorDetail]:
    """Status and detail of an expected error, for a part of a batch; anything else is raised again."""
    if isinstance(error, ApiError):
        return error.status, ErrorDetail(
            code=error.code, message=_valid(error.message), field=error.field and _valid(error.field)
        )
    if isinstance(error, DataError):
        return 422, ErrorDetail(code="invalid_field", message=_valid(str(error)), field="items")
    if isinstance(error, EventLogError):
        return 503, ErrorDetail(code="event_log_unavailable", message=LOG_UNAVAILABLE)
    raise error


def _of_api_error(error: ApiError) -> Response:
    response = _answer(error.status, error.code, error.message, error.field)
    response.headers.update(error.headers)
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _of_recae_error(error: RecaeError) -> Response:
    if isinstance(error, UnknownIdError):
        return _answer(HTTPStatus.NOT_FOUND, f"unknown_{error.kind}", str(error), f"{error.kind}_id")
    if isinstance(error, BusyLogError):
        return _of_api_error(ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "event_log_unavailable", str(error)))
    if isinstance(error, EventLogError):
        current_app.logger.error("request %s failed: %s", g.request_id, error)
        return _of_api_error(
            ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "event_log_unavailable", LOG_UNAVAILABLE)
        )
    if isinstance(error, ArtifactError):
        current_app.logger.error("request %s failed: %s", g.request_id, error)
        return _of_api_error(store_damaged(str(error)))
    if isinstance(error, DataError):
        return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_field", str(error), "items")
    return _of_bug(error)


def _of_http_exception(error: HTTPException) -> Response:
    """Flask's own: unknown paths, wrong methods, bodies that are too large."""
    status = HTTPStatus(error.code or 500)
    response = _answer(status, CODES.get(status, f"http_{status}"), error.description or status.phrase)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value  # Allow, with 405
    return response


def _of_bug(error: Exception) -> Response:
    current_app.logger.error("request %s failed", g.request_id, exc_info=error)
    message = "the server made a mistake; its log tells more under this request_id"
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", message)


def _answer(status: HTTPStatus, code: str, message: str, field: str | None = None) -> Response:
    detail = ErrorDetail(code=code, message=_valid(message), field=_valid(field) if field else None)
    body = ErrorBody(error=detail, request_id=g.request_id)
    return Response(body.model_dump_json(), status=status, mimetype="application/json")


def _path(location: tuple[int | str, ...]) -> str:
    """``("items", 0, "item_id")`` -> ``items[0].item_id``."""
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return parts.removeprefix(".") or "body"


def _valid(text: str) -> str:
    """Text that UTF-8 can carry: a caller's own field name may hold half a surrogate pair."""
    return text.encode(errors="replace").decode()


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
