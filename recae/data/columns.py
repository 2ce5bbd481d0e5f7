"""The fast way: check and convert whole columns at once, or say that a closer look is needed.

Everything accepted here is what ``rows.clean_row`` makes of the same rows, tests hold the two together. Whatever
is not plainly good, one NaN among a million numbers, sends its block down the slow way, which knows the reasons.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recae.data.rows import (
    COLUMNS,
    LARGEST_EXACT,
    LARGEST_VALUE,
    LATEST_MILLISECONDS,
    MILLISECONDS_ABOVE,
)

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, which is all that Python's own times know."""

Column: TypeAlias = Any
"""An Arrow array, in one piece or chunked; pyarrow comes without types."""


class DoubtfulError(Exception):
    """Some row of the block may be bad; never leaves the readers."""


def clean_columns(columns: Mapping[str, Column]) -> pa.Table:
    """The canonical table of a block without any bad row.

    Args:
        columns: canonical name -> the column as the file holds it.

    Raises:
        DoubtfulError: if a row may be bad.
    """
    try:
        cleaned = {name: _cleaned(name, column) for name, column in columns.items()}
    except pa.ArrowException as error:
        raise DoubtfulError from error
    return pa.table(cleaned, schema=pa.schema([COLUMNS.field(name) for name in columns]))


def _cleaned(name: str, column: Column) -> Column:
    if name == "value":
        return pa.array(_numbers(column, LARGEST_VALUE))
    if name == "timestamp":
        return pa.array(_seconds(column))
    text = _text(column)
    if name not in {"user_id", "item_id"}:
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    _require(text.null_count == 0)
    _require(not pc.any(pc.or_(pc.equal(text, ""), pc.utf8_is_space(text))).as_py())
    return text


def _text(column: Column) -> Column:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _text(column.cast(kind.value_type))
    if pa.types.is_floating(kind):  # integers with gaps, as pandas writes them; exact ones become text again
        column = column.cast(pa.int64())
        _require((pc.max(pc.abs(column)).as_py() or 0) < LARGEST_EXACT)
        return column.cast(pa.string())
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    _require(any(is_one(kind) for is_one in (*text, pa.types.is_integer)))
    return column.cast(pa.string())


def _numbers(column: Column, largest: float) -> npt.NDArray[np.float64]:
    _require(column.null_count == 0 and not pa.types.is_boolean(column.type))
    numbers: npt.NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    _require(bool((np.abs(numbers) <= largest).all()))  # False for NaN and infinity too
    return numbers


def _seconds(column: Column) -> npt.NDArray[np.int64]:
    if pa.types.is_string(column.type):
        column = _times(column)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(column.type):
        _require(column.null_count == 0)
        microseconds = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()).to_numpy()
        seconds: npt.NDArray[np.int64] = np.floor_divide(microseconds, 1_000_000)
        _require(bool(((seconds >= FIRST_SECOND) & (seconds <= LAST_SECOND)).all()))
        return seconds
    numbers = _numbers(column, LATEST_MILLISECONDS)
    return np.floor(np.where(np.abs(numbers) > MILLISECONDS_ABOVE, numbers / 1000, numbers)).astype(np.int64)


def _times(text: Column) -> Column:
    """Text as numbers, as times with zone, or as times without: whichever all of it is."""
    for kind in (pa.float64(), pa.timestamp("us", "UTC")):
        try:
            return text.cast(kind)
        except pa.ArrowInvalid:
            continue
    return text.cast(pa.timestamp("us"))


def _require(plainly_good: bool) -> None:
    if not plainly_good:
        raise DoubtfulError
