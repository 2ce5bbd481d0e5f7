"""What a request carries as JSON, read once, and refused with the reason where it cannot be read."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from recae.api.context import state
from recae.api.errors import MAX_SHOWN, ApiError, invalid

JSON: Final = "application/json"
UTF_8: Final = frozenset({"utf-8", "utf8"})


class _TwiceError(ValueError):
    """A name that stands twice in one object, of which one value would silently do nothing."""


def read_json() -> Any:
    """The body of the current request.

    Raises:
        ApiError: 415 if it is not declared as JSON, 413 if it is too large, 400 if it is none.
    """
    if request.mimetype != JSON or request.mimetype_params.get("charset", "utf-8").lower() not in UTF_8:
        found = request.headers.get("Content-Type", "nothing")[:MAX_SHOWN]
        message = f"the body is declared as {found}; send JSON in UTF-8 with Content-Type: application/json"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    if request.query_string:
        refuse_query(request.args, has_body=True)
    limit = state().settings.max_body_bytes
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    try:
        body = request.get_data()
    except RequestEntityTooLarge:  # of a chunked body nobody knew the length
        raise _too_large(limit) from None
    return json_of(body)


def json_of(body: bytes) -> Any:
    """What a body that is declared as JSON says.

    Raises:
        ApiError: 413 if it is too large, 400 if it is none.
    """
    limit = state().settings.max_body_bytes
    if len(body) > limit:
        raise _too_large(limit)
    try:
        text = body.decode("utf-8-sig")  # of bytes json would take UTF-16, too
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "malformed_json", _fault(body, error)) from error


def refuse_query(names: Iterable[str], *, has_body: bool) -> None:
    """Refuse a query where there is none to read: it would silently do nothing.

    Raises:
        ApiError: 422, naming its first part.
    """
    name = next(iter(names), "query")
    takes = "everything in its body, and nothing in the query" if has_body else "no query"
    raise invalid(name, f"this request takes {takes}")


def _too_large(limit: int) -> ApiError:
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large",
        f"the body is over this server's limit of {limit:,} bytes",
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError(f"{_twice(pairs)[:MAX_SHOWN]!r} stands twice in one object; name it once")
    return found


def _twice(pairs: list[tuple[str, Any]]) -> str:
    """The first name that was there before."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            break
        seen.add(name)
    return name


def _fault(body: bytes, error: Exception) -> str:
    if not body:
        return "the body is empty; expected a JSON object: { ... }"
    if isinstance(error, json.JSONDecodeError):
        return f"the body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, _TwiceError):
        return f"the body is ambiguous: {error}"
    return "the body is no JSON that can be read; expected an object in UTF-8, nested a few levels deep"
