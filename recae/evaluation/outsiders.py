"""Somebody else's model, judged as ours are: implicit's `recommend`, a function of histories, or a file of scores.

All three give scores for rows of a holdout; excluding, ranking and counting are the same code for everybody.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, issparse

from recae.data.holdout import Holdout, Split, pattern
from recae.data.idmap import IdMap
from recae.errors import EvaluationError, name_some
from recae.evaluation.exact_order import in_float32
from recae.evaluation.lists import Places
from recae.models.base import Model
from recae.models.ranking import NEVER, SCORE_BYTES, Positions, Scores, top_n

Function: TypeAlias = Callable[[csr_array], Any]
"""Histories (n_rows, n_items) -> scores of the same shape, higher is better."""

COLUMNS = ("user_id", "item_id", "score")
SHOWN = 3
"""Ids that a message names."""


class Outsider:
    """A ranker that has scores; see `recae.evaluation.scoring.Ranker`."""

    kind: str
    """What it is, as results name it."""

    @property
    def feedback(self) -> str:
        """``"sequences"`` if it says that it goes by the places of a history; all others see ones there."""
        return "implicit"

    def rank_rows(self, holdout: Holdout, rows: Places, n: int) -> tuple[Positions, Scores]:
        """The n best items of these rows, as `recae.models.ranking.top_n` orders them, in bounded memory."""
        n_items = holdout.targets.shape[1]
        step = max(1, SCORE_BYTES // (4 * max(n_items, 1)))
        parts = []
        for start in range(0, max(len(rows), 1), step):
            block = rows[start : start + step]
            candidates = None if holdout.candidates is None else holdout.candidates[block]
            scores = self.score_rows(holdout, block)
            parts.append(top_n(scores, n, exclude=holdout.seen[block], candidates=candidates))
        ids, best = zip(*parts, strict=True)
        return np.concatenate(ids), np.concatenate(best)

    def score_rows(self, holdout: Holdout, rows: Places) -> Scores:
        """Fresh scores of all items, shape (n_rows, n_items); `NEVER` for one that is not suggested."""
        return self._checked(self._scores(holdout, rows), (len(rows), holdout.targets.shape[1]))

    @abstractmethod
    def _scores(self, holdout: Holdout, rows: Places) -> Any:
        """Scores as they come."""

    def _checked(self, scores: Any, expected: tuple[int, int]) -> Scores:
        is_sparse = issparse(scores)
        found = scores.toarray() if is_sparse else np.asarray(scores)
        if found.shape != expected:
            raise EvaluationError(
                f"{self!r} gave scores of the shape {found.shape} for {expected[0]:,} histories over {expected[1]:,} items; "
                f"expected {expected}"
            )
        return in_float32(found)


@dataclass(frozen=True, eq=False)
class ScoreFunction(Outsider):
    """A function from histories to scores."""

    function: Function
    kind = "function"

    @property
    def feedback(self) -> str:
        return str(getattr(self.function, "feedback", "implicit"))

    def _scores(self, holdout: Holdout, rows: Places) -> Any:
        return self.function(holdout.inputs[rows])

    def __repr__(self) -> str:
        return f"the function {getattr(self.function, '__name__', self.function)!s}"


@dataclass(frozen=True, eq=False)
class ImplicitRecommender(Outsider):
    """An object with implicit's `recommend`, fitted to the split's train matrix.

    A user of train is asked for by row; the history of anybody else goes with ``recalculate_user=True``.
    """

    model: Any
    train_users: IdMap
    kind = "implicit"

    @property
    def feedback(self) -> str:
        return str(getattr(self.model, "feedback", "implicit"))

    def _scores(self, holdout: Holdout, rows: Places) -> Any:
        n_items = holdout.targets.shape[1]
        scores = np.full((len(rows), n_items), NEVER, dtype=np.float32)
        known = self.train_users.find(holdout.users.ids[rows])
        for places, strangers in ((np.flatnonzero(known >= 0), False), (np.flatnonzero(known < 0), True)):
            if not len(places):
                continue
            users = np.arange(len(places)) if strangers else known[places]
            try:
                ids, found = self.model.recommend(
                    users,
                    csr_matrix(holdout.inputs[rows[places]]),
                    N=n_items,
                    filter_already_liked_items=False,
                    recalculate_user=strangers,
                )
            except NotImplementedError as error:
                raise EvaluationError(
                    f"{self!r} cannot score users it was not trained on; use a split by time or by event"
                ) from error
            ids, found = np.asarray(ids), in_float32(found)
            row, place = np.nonzero((ids >= 0) & (found > NEVER))  # padded places have no item
            scores[places[row], ids[row, place]] = found[row, place]
        return scores

    def __repr__(self) -> str:
        return f"the recommender {type(self.model).__name__}"


@dataclass(frozen=True, eq=False)
class ScoreTable(Outsider):
    """Scores from a file: an item that is not listed for a user is not suggested to that user."""

    path: Path
    scores: csr_array
    """Shape (n_test_users, n_items); a stored 0 is a score."""
    users: IdMap
    """Of the rows: the test users."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What of the file, and of the test, does not meet the other: a reason, and how many rows or users it concerns."""
    kind = "table"

    @classmethod
    def read(cls, path: str | Path, split: Split) -> "ScoreTable":
        """Read a Parquet file with user_id, item_id and score; of a pair that comes twice the higher score counts.

        Scores are numbers of any type; `in_float32` keeps their order.
        Rows of users that the test does not ask for, and of items that train does not have, are left out and counted; so are
        test users without a score, whose lists are empty, and candidates without one where the split names candidates.

        Raises:
            EvaluationError: if it cannot be read, lacks a column, holds a score that is not finite, or no test user.
        """
        path, users, items = Path(path), split.test.users, split.train.items
        try:
            table = pq.read_table(path, columns=list(COLUMNS))
            user_ids, item_ids = (
                table.column(name).cast(pa.string()).combine_chunks().dictionary_encode()
                for name in COLUMNS[:2]
            )
            values = _numbers(table.column("score"))
            has_nulls = any(pc.is_null(table.column(name)).to_numpy().any() for name in COLUMNS)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise EvaluationError(
                f"cannot read scores from {path}: {error}; expected Parquet with {', '.join(COLUMNS)}"
            ) from error
        if has_nulls or not np.isfinite(values).all():
            raise EvaluationError(
                f"{path} has empty or infinite cells; every row needs a user, an item and a finite score"
            )
        rows, columns = (
            vocabulary.find(ids.dictionary.to_pylist())[ids.indices.to_numpy()]
            if len(ids)
            else np.empty(0, np.int32)
            for vocabulary, ids in ((users, user_ids), (items, item_ids))
        )
        known = (rows >= 0) & (columns >= 0)
        if not known.any():
            strangers = (
                f"{kind} {name_some(ids.dictionary.to_pylist(), SHOWN)}, where {name_some(asked, SHOWN)} are asked for"
                for kind, ids, asked in (("users", user_ids, users), ("items", item_ids, items))
            )
            raise EvaluationError(
                f"{path} has no score of a test user for an item of train: it has {'; '.join(strangers)}. "
                "`recae split` writes who and what is asked for"
            )
        notes = {
            f"rows of {path.name} for users who are not asked for": int((rows < 0).sum()),
            f"rows of {path.name} for items outside train": int(((rows >= 0) & (columns < 0)).sum()),
        }
        rows, columns, values = rows[known], columns[known], values[known]
        order = np.lexsort((values, columns, rows))  # of equal pairs the highest last
        rows, columns, values = rows[order], columns[order], values[order]
        last = np.append((np.diff(rows) != 0) | (np.diff(columns) != 0), True)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[last], minlength=len(users)))])
        by_user = [in_float32(of_user) for of_user in np.split(values[last], indptr[1:-1])]
        parts = (np.concatenate(by_user), columns[last], indptr)
        asked_in_vain = (np.diff(split.test.targets.indptr) > 0) & (np.diff(indptr) == 0)
        notes = {f"test users without a score in {path.name}": int(asked_in_vain.sum())} | notes
        scores = csr_array(parts, shape=(len(users), len(items)))
        if split.test.candidates is not None:
            candidates = pattern(split.test.candidates)
            unscored = candidates.nnz - candidates.multiply(pattern(scores)).nnz
            notes[f"given candidates without a score in {path.name}, which come last"] = unscored
        counted = {reason: count for reason, count in notes.items() if count}
        return cls(path, scores, users, counted)

    def _scores(self, holdout: Holdout, rows: Places) -> Any:
        places = self.users.positions(holdout.users.ids[rows], kind="user")
        some = self.scores[places]
        dense = np.full(some.shape, NEVER, dtype=np.float32)
        dense[np.repeat(np.arange(len(rows)), np.diff(some.indptr)), some.indices] = some.data
        return dense

    def __repr__(self) -> str:
        return f"the scores in {self.path.name}"


def _numbers(scores: pa.ChunkedArray) -> NDArray[Any]:
    """A column of a file in its own type of numbers; decimals, truth values and text become float64."""
    of_numbers = pa.types.is_integer(scores.type) or pa.types.is_floating(scores.type)
    return np.asarray((scores if of_numbers else scores.cast(pa.float64())).to_numpy())


def kind_of(model: Any) -> str:
    """What a model is, as results name it: a name of the registry, or what `outsider` makes of it."""
    if isinstance(model, Model):
        return model.name
    if isinstance(model, str | Path):
        return ScoreTable.kind
    return ImplicitRecommender.kind if hasattr(model, "recommend") else ScoreFunction.kind


def outsider(model: Any, split: Split) -> Outsider:
    """Wrap a model that is not ours.

    Args:
        model: an object with implicit's ``recommend``; a function histories (n_rows, n_items) -> scores; or the path of a
            Parquet file with user_id, item_id and score.
        split: what it is judged on.

    Raises:
        EvaluationError: if it is none of these, or its file cannot be used.
    """
    if isinstance(model, str | Path):
        return ScoreTable.read(model, split)
    if hasattr(model, "recommend"):
        return ImplicitRecommender(model, split.train.users)
    if callable(model):
        return ScoreFunction(model)
    raise EvaluationError(
        f"a {type(model).__name__} cannot be judged; give a fitted model, an object with implicit's recommend, "
        "a function from histories to scores, or the path of a Parquet file of user_id, item_id, score"
    )
