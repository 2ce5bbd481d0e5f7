"""Why an item was recommended: the items of the history that speak for it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from recae.data.idmap import IdMap, Positions
from recae.models.base import Model


@dataclass(frozen=True)
class Explanation:
    """An item of the history, and what it adds to the score of a recommended one, in the unit of the scores."""

    item_id: str
    title: str | None
    contribution: float


def explanations_of(
    model: Model,
    history: csr_array,
    columns: Positions,
    k: int,
    items: IdMap,
    title: Callable[[str], str | None],
) -> list[tuple[Explanation, ...]]:
    """For each recommended item the ``k`` items of the history that add most to its score, the strongest first.

    An item that adds nothing, or takes away, explains nothing: there are fewer than k where fewer add something.
    Costs one call of :meth:`~recae.models.base.Model.contributions`: for additive models far less than a score, for
    others as many scores as the history has items.

    Args:
        model: fitted.
        history: one row, shape (1, n_items), without explicit zeros where the values are likings.
        columns: the recommended items, shape (n,).
        k: at most so many for each; 0 gives empty tuples without any work.
        items: names of the columns.
        title: item id -> title.

    Returns:
        n tuples; all are empty where the model cannot tell, since it scores no history but those it was trained on.
    """
    if not k or not len(columns) or not model.supports_fold_in:
        return [()] * len(columns)
    contributions = model.contributions(history, columns)  # (n_history, n)
    strongest = np.argsort(-contributions, axis=0, kind="stable")[:k]  # of equal ones the lower column first
    added = np.take_along_axis(contributions, strongest, axis=0)
    explained = []
    for rows, values in zip(history.indices[strongest].T.tolist(), added.T.tolist(), strict=True):
        named = [(items[column], value) for column, value in zip(rows, values, strict=True) if value > 0]
        explained.append(tuple(Explanation(item_id, title(item_id), value) for item_id, value in named))
    return explained
