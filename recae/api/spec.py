"""The OpenAPI document, made from the routes and their schemas."""

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from flask.typing import ResponseReturnValue
from pydantic import BaseModel
from spectree import Response, SecurityScheme, SpecTree
from spectree.models import InType, SecureType, SecuritySchemeData

import recae
from recae.api.errors import refuse_invalid
from recae.api.schemas import ErrorBody

ERRORS = {
    400: "The body is no JSON",
    401: "The server asks for a key and knows none of what was sent",
    403: "The key's role does not include this",
    404: "The model does not know what the path names",
    413: "The body is larger than this server takes",
    415: "The body is not declared as JSON",
    422: "A part of the request, named by `field`, cannot be used",
    429: "The key asks more often than it may; try again after `Retry-After` seconds",
    500: "The server made a mistake; its log tells more under the `request_id`",
    503: "No model is loaded yet; try again after `Retry-After` seconds",
}
"""In the document's words, not Python's phrases, which change between its versions."""

View: TypeAlias = Callable[..., BaseModel]
Route: TypeAlias = Callable[..., ResponseReturnValue]

tree = SpecTree(
    "flask",
    title="recae",
    version=recae.__version__,
    description="Recommendations from an autoencoder: for known users, for any history, and by similarity.",
    mode="strict",
    security_schemes=[
        SecurityScheme(
            name="key",
            data=SecuritySchemeData(type=SecureType.API_KEY, name="X-API-Key", field_in=InType.HEADER),
        ),
        SecurityScheme(name="bearer", data=SecuritySchemeData(type=SecureType.HTTP, scheme="bearer")),
    ],
    before=refuse_invalid,
    validation_error_model=ErrorBody,
    naming_strategy=lambda model: model.__name__,
    nested_naming_strategy=lambda _parent, child: child,
)


def documented(
    operation_id: str, *, tag: str, ok: type[BaseModel], errors: tuple[int, ...] = ()
) -> Callable[[View], Route]:
    """Validate a view's ``query`` and ``json`` parameters, turn its schema into JSON, and document both.

    Args:
        operation_id: its name in the OpenAPI document.
        tag: the group it is shown in.
        ok: schema of the answer.
        errors: statuses it may answer with, beside 422 and 500.
    """
    guarded = tag != "operations"
    statuses = sorted({*errors, 422, 500, *((401, 403, 429) if guarded else ())})
    models: dict[str, Any] = {f"HTTP_{status}": (ErrorBody, ERRORS[status]) for status in statuses}
    response = Response(HTTP_200=(ok, "The answer"), **models)
    security: list[dict[str, list[str]]] | None = (
        [{name: []} for name in ("key", "bearer")] if guarded else None
    )
    validated = tree.validate(resp=response, tags=[tag], operation_id=operation_id, security=security)
    return cast("Callable[[View], Route]", validated)


def document() -> dict[str, Any]:
    """The OpenAPI document of the current application."""
    found: dict[str, Any] = tree.spec
    return found
