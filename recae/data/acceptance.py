"""What a readable event must meet to be stored: a time not too far in the future, and ids that fit every database."""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recae.data.columns import FIRST_SECOND, DoubtfulError
from recae.data.ids import LONGEST_ID, ZERO_BYTE, IdFault, id_fault
from recae.data.rows import BadRowError

REASONS = {
    IdFault.LENGTH: f"is longer than {LONGEST_ID} characters",
    IdFault.UNICODE: "is not UTF-8",
    IdFault.ZERO_BYTE: "holds a zero byte",
}
"""What is said of the fields that have to be as an id is; none of them is empty here."""


class Acceptance(NamedTuple):
    """The rules of one moment."""

    latest: float
    """The last time accepted, in seconds since 1970: now, and as much more as clocks may differ."""

    def check(self, name: str, value: Any) -> None:
        """Check one field of a row, already in its canonical type.

        Raises:
            BadRowError: with the reason.
        """
        if name == "timestamp":
            if value > self.latest:
                raise BadRowError("timestamp is in the future")
            if value < FIRST_SECOND:
                raise BadRowError("timestamp is before the year 1")
        elif isinstance(value, str) and value:
            fault = id_fault(value)
            if fault is not None:
                raise BadRowError(f"{name} {REASONS[fault]}")

    def check_table(self, table: pa.Table) -> None:
        """Check whole columns at once.

        Raises:
            DoubtfulError: if a row may break a rule.
        """
        for name in table.column_names:
            column = table.column(name)
            if name == "timestamp":
                bounds = pc.min_max(column).as_py()
                good = not table.num_rows or (bounds["min"] >= FIRST_SECOND and bounds["max"] <= self.latest)
            elif name == "value":
                good = True
            else:
                longest = pc.max(pc.utf8_length(column)).as_py() or 0
                good = longest <= LONGEST_ID and not pc.any(pc.match_substring(column, ZERO_BYTE)).as_py()
            if not good:
                raise DoubtfulError
