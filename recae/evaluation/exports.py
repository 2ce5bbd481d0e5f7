"""A split as Parquet files, for models that are fitted elsewhere."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from recae import durable
from recae.data.events import Times
from recae.data.holdout import Split
from recae.data.idmap import IdMap

PARTS = ("validation", "test")
WHAT = ("inputs", "seen", "targets", "candidates")


def write_split(split: Split, folder: str | os.PathLike[str]) -> list[Path]:
    """Write what to learn from, and what to be asked.

    ``train.parquet`` has user_id, item_id, value and, where known, timestamp. For each of validation and test,
    ``<part>_inputs.parquet`` has the histories to score, ``<part>_seen.parquet`` what may not be suggested, and
    ``<part>_targets.parquet`` what is to be found. Where the split names the only items to rank for each user,
    ``<part>_candidates.parquet`` has these; each of them needs a score. The targets are not for fitting: a model that has seen test targets has
    no honest number.

    Args:
        split: any.
        folder: made if needed; files of an earlier call are replaced, and those that this split has not are removed.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    items = split.train.items
    tables = {"train": split.train.to_frame()}
    for part, holdout in zip(PARTS, (split.validation, split.test), strict=True):
        if holdout is not None:
            tables[f"{part}_inputs"] = _frame(holdout.inputs, holdout.users, items, holdout.input_times)
            tables[f"{part}_seen"] = _frame(holdout.seen, holdout.users, items, None)
            tables[f"{part}_targets"] = _frame(holdout.targets, holdout.users, items, holdout.target_times)
            if holdout.candidates is not None:
                tables[f"{part}_candidates"] = _frame(holdout.candidates, holdout.users, items, None)
    paths = []
    for name, table in tables.items():
        path = target / f"{name}.parquet"
        with durable.new_file(path) as temporary:
            table.to_parquet(temporary, index=False)
        paths.append(path)
    for name in (f"{part}_{what}" for part in PARTS for what in WHAT):
        if name not in tables:  # of another split: it would be taken for this one's
            (target / f"{name}.parquet").unlink(missing_ok=True)
    return paths


def _frame(matrix: csr_array, users: IdMap, items: IdMap, times: Times | None) -> pd.DataFrame:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    table = {"user_id": users.ids[rows], "item_id": items.ids[matrix.indices], "value": matrix.data}
    return pd.DataFrame(table if times is None else table | {"timestamp": times})
