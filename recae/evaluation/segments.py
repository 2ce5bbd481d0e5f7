"""Where a model is good: groups of test users, and the value of every model in each.

Users are grouped by how many items they are known by (activity), by when the last of those was (recency), and by
whatever columns the protocol names. A mean over all users can hide that a model serves newcomers badly.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recae.data.holdout import Holdout
from recae.errors import ConfigError, DataError, name_some
from recae.evaluation.metrics import Values
from recae.evaluation.records import Segment, SegmentValue
from recae.evaluation.sections import SegmentsSection
from recae.evaluation.statistics import bootstrap_intervals

Groups = Mapping[str, Mapping[str, NDArray[np.bool_]]]
"""What users are grouped by -> name of a group -> whether each judged user belongs to it, shape (n_judged,)."""

N_GROUPS = 3
"""Parts of activity and of recency, about equally large: equal users are never torn apart."""
MOST_GROUPS = 20
"""Of a column: the largest groups, all further values are one group."""
FEWEST = 10
"""Users of a group whose mean gets an interval: of fewer, resampling says too little."""
OTHERS = "all others"
MISSING = "not known"
ALWAYS = ("activity", "recency", "item popularity")
"""What every report groups by, where the data have it."""


def user_groups(holdout: Holdout, rows: NDArray[np.int64], columns: Mapping[str, Sequence[Any]]) -> Groups:
    """Groups of the judged users.

    Args:
        holdout: the test part.
        rows: the judged ones.
        columns: name of a column -> its value for every judged user, None where it is not known.
    """
    inputs = holdout.inputs[rows]
    groups = {"activity": _thirds(np.diff(inputs.indptr).astype(np.int64), "{low:,} to {high:,} items")}
    if holdout.input_times is not None:
        latest = _latest_input(holdout, rows)
        days = (latest.max() - latest) // 86_400
        groups["recency"] = _thirds(days, "last seen {low:,} to {high:,} days before the latest")
    for name, values in columns.items():
        groups[name] = _by_value(values)
    return groups


def segments_of(groups: Groups, per_user: Mapping[str, Mapping[str, Values]]) -> tuple[Segment, ...]:
    """The value of every model in every group that has one.

    Args:
        groups: of the judged users.
        per_user: title of a model -> metric -> value of each judged user; NaN where a user has none.
    """
    found = []
    for by, named in groups.items():
        for group, members in named.items():
            inside = {
                title: {metric: values[members & ~np.isnan(values)] for metric, values in metrics.items()}
                for title, metrics in per_user.items()
            }
            sizes = {len(values) for metrics in inside.values() for values in metrics.values()}
            if sizes and min(sizes) > 0:
                found.append(Segment(by=by, group=group, n_users=max(sizes), values=_values(inside)))
    return tuple(found)


def columns_of(section: SegmentsSection, folder: Path, users: Sequence[str]) -> dict[str, list[Any]]:
    """The columns that a protocol groups users by, a value for every user; None for those the file does not hold.

    Args:
        section: names a Parquet or CSV file with user_id, and its columns.
        folder: what its path is relative to.
        users: ids of the judged users.

    Raises:
        ConfigError: if a column is called like a group that is always there, which it would replace.
        DataError: if the file cannot be read, lacks a column, has a user twice, or holds none of the users.
    """
    if section.users is None:
        return {}
    taken = [name for name in section.columns if name in ALWAYS]
    if taken:
        raise ConfigError(
            f"segments.columns: {taken[0]!r} is what a group is called that every report has ({', '.join(ALWAYS)}); "
            "give the column another name"
        )
    path = folder / section.users
    table = _table(path)
    missing = [name for name in ("user_id", *section.columns) if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}; its columns are {', '.join(table.column_names)}"
        )
    ids = table.column("user_id").cast(pa.string()).to_pylist()
    if len(set(ids)) < len(ids):
        raise DataError(
            f"{path} has {len(ids) - len(set(ids)):,} user ids more than once; one line a user is expected"
        )
    row_of = {user: row for row, user in enumerate(ids)}
    if not any(user in row_of for user in users):
        raise DataError(
            f"{path} holds none of the {len(users):,} test users: its user_id are {name_some(ids, 3)}, "
            f"theirs {name_some(users, 3)}; write them as the log has them, as text"
        )
    found = {}
    for name in section.columns:
        values = table.column(name).to_pylist()
        found[name] = [values[row_of[user]] if user in row_of else None for user in users]
    return found


def _table(path: Path) -> pa.Table:
    from pyarrow import csv

    try:
        if path.suffix.lower() != ".csv":
            return pq.read_table(path)
        as_text = csv.ConvertOptions(column_types={"user_id": pa.string()})  # "007" is not 7
        return csv.read_csv(path, convert_options=as_text)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"cannot read the users' columns from {path}: {error}; expected Parquet or CSV"
        ) from error


def _thirds(values: NDArray[np.int64], named: str) -> dict[str, NDArray[np.bool_]]:
    """Groups of about equal size, from the lowest values up; fewer where many are equal."""
    cuts = np.unique(np.quantile(values, np.arange(1, N_GROUPS) / N_GROUPS, method="inverted_cdf"))
    place = np.searchsorted(cuts, values)  # a value at a cut belongs to the lower group
    groups = {}
    for group in np.unique(place):
        members = place == group
        low, high = values[members].min(), values[members].max()
        groups[named.format(low=int(low), high=int(high))] = members
    return groups


def _by_value(values: Sequence[Any]) -> dict[str, NDArray[np.bool_]]:
    texts = np.array([MISSING if value is None else str(value) for value in values], dtype=object)
    names, counts = np.unique(texts, return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:MOST_GROUPS]
    groups = {str(name): texts == name for name in largest}
    if len(names) > len(largest):
        groups[OTHERS] = ~np.isin(texts, largest)
    return groups


def _latest_input(holdout: Holdout, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Time of the last input of each row; for one without inputs the earliest of all."""
    times, indptr = holdout.input_times, holdout.inputs.indptr
    if times is None or not len(times):
        return np.zeros(len(rows), dtype=np.int64)
    latest = np.full(len(indptr) - 1, times.min())
    filled = np.flatnonzero(np.diff(indptr))
    latest[filled] = np.maximum.reduceat(times, indptr[filled])
    return np.asarray(latest[rows])


def _values(inside: Mapping[str, Mapping[str, Values]]) -> dict[str, dict[str, SegmentValue]]:
    """Title -> metric -> its mean over one group, with all intervals of equally many users from the same draws."""
    by_size: dict[int, list[tuple[str, str]]] = {}
    for title, metrics in inside.items():
        for metric, values in metrics.items():
            by_size.setdefault(len(values), []).append((title, metric))
    intervals: dict[tuple[str, str], tuple[float, float]] = {}
    for size, places in by_size.items():
        if size >= FEWEST:
            columns = np.column_stack([inside[title][metric] for title, metric in places])
            intervals.update(zip(places, bootstrap_intervals(columns), strict=True))
    return {
        title: {metric: _value(values, intervals.get((title, metric))) for metric, values in metrics.items()}
        for title, metrics in inside.items()
    }


def _value(values: Values, interval: tuple[float, float] | None) -> SegmentValue:
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return SegmentValue(value=float(values.mean()), standard_error=error, interval=interval)
