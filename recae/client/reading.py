"""From JSON to frozen dataclasses: every field is checked against its annotation, unknown ones are ignored."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from recae.client.errors import BadAnswerError

T = TypeVar("T")

RAW = "raw"
"""The field that takes the whole object."""


def read(wanted: type[T], found: Any, place: str = "answer") -> T:
    """An answer as its dataclass.

    Args:
        wanted: the dataclass.
        found: what the JSON held.
        place: where it stood, for the message.

    Raises:
        BadAnswerError: naming the field that is missing or of another type.
    """
    if not isinstance(found, Mapping):
        raise _unfit(place, "an object", found)
    hints = _hints(wanted)  # type: ignore[arg-type] # is_dataclass() says so to people only  # classes are hashable, a type[T] too
    values: dict[str, Any] = {}
    for field in fields(wanted):  # type: ignore[arg-type]  # a dataclass, which Python cannot say of a TypeVar
        if field.name == RAW:
            values[RAW] = found
        elif field.name in found:
            values[field.name] = _value(hints[field.name], found[field.name], f"{place}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise BadAnswerError(
                f"{place} has no {field.name}; is the server another program, or another version of recae?"
            )
    return wanted(**values)


@cache
def _hints(wanted: type) -> dict[str, Any]:
    return get_type_hints(wanted)


def _value(hint: Any, found: Any, place: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _any_of(get_args(hint), found, place)
    if origin is tuple:
        if not isinstance(found, list):
            raise _unfit(place, "a list", found)
        return tuple(_value(get_args(hint)[0], one, f"{place}[{at}]") for at, one in enumerate(found))
    if origin is Mapping:
        if not isinstance(found, dict):
            raise _unfit(place, "an object", found)
        return found
    if is_dataclass(hint):
        return read(hint, found, place)  # type: ignore[arg-type] # is_dataclass says it is a class
    if hint is float and isinstance(found, int) and not isinstance(found, bool):
        return float(found)
    if not isinstance(found, hint) or (isinstance(found, bool) and hint is not bool):
        raise _unfit(place, hint.__name__, found)
    return found


def _any_of(hints: tuple[Any, ...], found: Any, place: str) -> Any:
    if found is None and types.NoneType in hints:
        return None
    problem: BadAnswerError | None = None
    for hint in hints:
        if hint is not types.NoneType:
            try:
                return _value(hint, found, place)
            except BadAnswerError as error:
                problem = problem or error
    raise problem or _unfit(place, "null", found)


def _unfit(place: str, expected: str, found: object) -> BadAnswerError:
    return BadAnswerError(
        f"{place} is of the type {type(found).__name__}, expected {expected}; is the server another program, "
        "or another version of recae?"
    )
