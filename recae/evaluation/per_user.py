"""The value of every judged user, kept beside the results: what intervals, tests and later comparisons are made of."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recae import durable
from recae.errors import EvaluationError
from recae.evaluation.metrics import Values

FILE = "per_user.parquet"
"""Its name in a folder of results. Columns: model, user_id, and one for each metric that users have a value of."""


RUN = b"recae.run"
"""Of the file's metadata: the evaluation that the values are of."""


def write_per_user(
    users: tuple[str, ...], per_user: Mapping[str, Mapping[str, Values]], path: Path, *, run: str
) -> None:
    """Replace the file in one step.

    Args:
        run: names the evaluation that the values are of.
        users: ids of the judged users.
        per_user: title of a model -> metric -> values in the order of ``users``.
        path: of the file.
    """
    metrics = dict.fromkeys(metric for values in per_user.values() for metric in values)
    titles = pa.array([title for title in per_user for _ in users], pa.string()).dictionary_encode()
    columns: dict[str, pa.Array] = {
        "model": titles,
        "user_id": pa.array([*users] * len(per_user), pa.string()),
    }
    for metric in metrics:
        columns[metric] = pa.array(np.concatenate([values[metric] for values in per_user.values()]))
    with durable.new_file(path) as temporary:
        pq.write_table(pa.table(columns, metadata={RUN: run}), temporary, compression="zstd")


def read_per_user(path: Path, *, run: str) -> tuple[tuple[str, ...], dict[str, dict[str, Values]]]:
    """What `write_per_user` wrote: the users, and title -> metric -> values; nothing if it is of another run.

    A crash between two files may leave the one of an earlier run beside the other of a later one.

    Raises:
        EvaluationError: if the file is damaged, or its models were not judged on the same users.
    """
    try:
        table = pq.read_table(path)
        if (table.schema.metadata or {}).get(RUN) != run.encode():
            return (), {}
        models = table.column("model").cast(pa.string()).to_numpy()
        ids = table.column("user_id").to_numpy()
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise EvaluationError(f"{path} cannot be read ({error}); evaluate again, or remove it") from error
    metrics = [name for name in table.column_names if name not in {"model", "user_id"}]
    values = {metric: table.column(metric).to_numpy() for metric in metrics}
    per_user, users = {}, None
    for title in dict.fromkeys(models):
        rows = models == title
        found = tuple(ids[rows])
        if users is not None and found != users:
            raise EvaluationError(
                f"{path}: {title} was judged on other users than the models before; evaluate again"
            )
        users = found
        per_user[str(title)] = {metric: values[metric][rows] for metric in metrics}
    return users or (), per_user
