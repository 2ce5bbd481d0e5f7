"""What a good row is, one row at a time. The fast way through whole columns (columns.py) accepts nothing else."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from recae.errors import DataError

COLUMNS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("timestamp", pa.int64()),
        ("event_type", pa.string()),
        ("value", pa.float64()),
        ("event_id", pa.string()),
        ("recommendation_id", pa.string()),
    ]
)
"""The canonical columns of a log; user_id and item_id are required."""

LARGEST_VALUE = float(np.finfo(np.float32).max)
MILLISECONDS_ABOVE = 1e11
"""As seconds this is the year 5138, so a larger number counts milliseconds."""
LATEST_MILLISECONDS = 1e14
LARGEST_EXACT = 2**53
"""From here on a float may stand for a neighbouring integer."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadRowError(DataError):
    """One row that cannot be used; the message is the reason, the same for all rows with the same fault."""


def clean_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with every field in its canonical type.

    Args:
        row: canonical column name -> value as the file holds it: text, or what JSON and Parquet know.

    Raises:
        BadRowError: with the first reason found.
    """
    return {name: CLEANERS[name](name, value) for name, value in row.items()}


def _id(name: str, value: Any) -> str:
    text = _text(name, value)
    if text is None or text.isspace():
        raise BadRowError(f"missing {name}")
    return text


def _text(name: str, value: Any) -> str | None:
    """Text as it is, integers as their decimals: 7 and 7.0 are "7"."""
    match value:
        case None | "" | b"":
            return None
        case str():
            try:
                value.encode()  # JSON can spell half a surrogate pair, which is no text
            except UnicodeEncodeError:
                raise BadRowError("not UTF-8") from None
            return value
        case bytes():
            return _decoded(value) or None
        case bool():
            pass
        case int():
            return str(value)
        case float() if math.isnan(value):  # how pandas writes a missing integer
            return None
        case float() if value.is_integer() and abs(value) < LARGEST_EXACT:
            return str(int(value))
    raise BadRowError(f"{name} is neither text nor an integer")


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadRowError("not UTF-8") from None


def _value(name: str, value: Any) -> float:
    number = _number(name, value)
    if number is None:
        raise BadRowError(f"{name} is not a number")
    if abs(number) > LARGEST_VALUE:
        raise BadRowError(f"{name} is too large for float32")
    return number


def _time(name: str, value: Any) -> int:
    """Whole seconds since 1970, rounded down; without a zone it is UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str) and _number(name, value) is None:
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise BadRowError(f"{name} is neither epoch seconds nor ISO 8601") from None
    if isinstance(value, datetime):
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return (aware - EPOCH) // timedelta(seconds=1)
    number = _number(name, value)
    if number is None:
        raise BadRowError(f"{name} is neither epoch seconds nor ISO 8601")
    if abs(number) > LATEST_MILLISECONDS:
        raise BadRowError(f"{name} is out of range: neither seconds nor milliseconds")
    return math.floor(number / 1000 if abs(number) > MILLISECONDS_ABOVE else number)


def _number(name: str, value: Any) -> float | None:
    """The finite number that ``value`` is or spells; None if it is none."""
    if value is None or value == "":
        raise BadRowError(f"missing {name}")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    if isinstance(value, str) and "_" in value:  # Python reads 1_000, nobody else does
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadRowError(f"{name} is not finite")
    return number


CLEANERS: dict[str, Callable[[str, Any], Any]] = {
    "user_id": _id,
    "item_id": _id,
    "timestamp": _time,
    "event_type": _text,
    "value": _value,
    "event_id": _text,
    "recommendation_id": _text,
}
