"""A few test users to look at: what they had, what each model suggests, what they took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.data.holdout import Holdout, Split
from recae.data.idmap import IdMap
from recae.evaluation.records import Example
from recae.evaluation.scoring import Ranker
from recae.models.base import Model
from recae.models.ranking import NEVER
from recae.models.ratings import predicted_at

N_EXAMPLES = 8
N_SHOWN = 12
"""Items of a history, and of a list."""
MOST_TARGETS = 60


@dataclass(frozen=True)
class Asked:
    """The users of the examples: chosen by how much they are known by, before any model has met them."""

    rows: NDArray[np.int64]
    """Of the test part."""
    users: tuple[Example, ...]
    """Without suggestions yet."""


def asked_examples(split: Split, judged: NDArray[np.int64]) -> Asked:
    """Users at equal steps from the least known to the best known one, so that nobody picks the flattering ones.

    Args:
        split: its test part has the users.
        judged: rows with held-out items.
    """
    test, ids = split.test, split.train.items.ids
    n_known = np.diff(test.inputs.indptr)[judged]
    in_order = judged[np.argsort(n_known, kind="stable")]
    steps = np.linspace(0, len(in_order) - 1, min(N_EXAMPLES, len(in_order)))
    rows = in_order[np.unique(steps.round().astype(int))]
    users = []
    for row in rows.tolist():
        known = _columns(test.inputs, row)
        if test.input_times is not None:
            times = test.input_times[test.inputs.indptr[row] : test.inputs.indptr[row + 1]]
            known = known[np.argsort(-times, kind="stable")]
        wanted = slice(test.targets.indptr[row], test.targets.indptr[row + 1])
        users.append(
            Example(
                user_id=str(test.users.ids[row]),
                history=tuple(map(str, ids[known[:N_SHOWN]])),
                n_history=len(known),
                targets=tuple(map(str, ids[test.targets.indices[wanted][:MOST_TARGETS]])),
                ratings=tuple(map(float, test.targets.data[wanted][:MOST_TARGETS])),
            )
        )
    return Asked(rows, tuple(users))


def suggested_for(
    ranker: Ranker, test: Holdout, items: IdMap, rows: NDArray[np.int64]
) -> tuple[tuple[str, ...], ...]:
    """The first suggestions for these rows, through the code that serves."""
    found, scores = ranker.rank_rows(test, rows, N_SHOWN)
    ids = items.ids
    return tuple(
        tuple(map(str, ids[columns[row_scores > NEVER]]))
        for columns, row_scores in zip(found, scores, strict=True)
    )


def predicted_for(model: Model, test: Holdout, rows: NDArray[np.int64]) -> tuple[tuple[float, ...], ...]:
    """The rating of each target of these rows."""
    wanted = test.targets[rows]
    predicted = predicted_at(model.score, test.inputs[rows], wanted)
    bounds = wanted.indptr
    return tuple(
        tuple(map(float, predicted[bounds[row] : bounds[row + 1]][:MOST_TARGETS])) for row in range(len(rows))
    )


def examples_of(
    asked: Asked,
    lists: Mapping[str, Sequence[tuple[str, ...]]],
    predicted: Mapping[str, Sequence[tuple[float, ...]]],
) -> tuple[Example, ...]:
    """The users with what each model said.

    Args:
        asked: the users.
        lists: title of a model -> its suggestions for each of them; empty where ratings are predicted.
        predicted: title of a model -> its ratings for each of them; empty where items are ranked.
    """
    of_ratings = any(predicted.values())
    return tuple(
        user.model_copy(
            update={
                "ratings": user.ratings if of_ratings else (),
                "lists": {title: found[place] for title, found in lists.items() if found},
                "predicted": {title: found[place] for title, found in predicted.items() if found},
            }
        )
        for place, user in enumerate(asked.users)
    )


def mentioned(examples: Sequence[Example]) -> list[str]:
    """Ids of all items that the examples name."""
    return list(
        dict.fromkeys(
            item
            for example in examples
            for items in (example.history, example.targets, *example.lists.values())
            for item in items
        )
    )


def _columns(matrix: csr_array, row: int) -> NDArray[np.int32]:
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]])
