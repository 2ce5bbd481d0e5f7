"""Events by cell, by counting: the order that sorting by comparison gives."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recae.data.ordering import by_cell, by_time_within

EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-2, 2)), min_size=1, max_size=30
)


@given(EVENTS)
def test_events_are_sorted_by_row_then_column_then_time_then_arrival(events):
    rows, columns, times = (np.array(part) for part in zip(*events, strict=True))
    rows, columns = rows.astype(np.int32), columns.astype(np.int32)

    order = by_cell(rows, columns, (4, 3))
    assert order.tolist() == np.lexsort((columns, rows)).tolist()

    cells = rows[order] * 3 + columns[order]
    by_time_within(order, np.diff(cells, prepend=-1) != 0, times)
    assert order.tolist() == np.lexsort((times, columns, rows)).tolist()


def test_no_events_have_no_order():
    nothing = np.empty(0, dtype=np.int32)
    assert by_cell(nothing, nothing, (4, 3)).size == 0
