"""From scores to a ranked list, and how good that list is: the part that serving and evaluation share."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recae.progress import bar

Scores = NDArray[np.float32]
Positions = NDArray[np.int32]
Flags = NDArray[np.bool_]

NEVER: Final = float(np.finfo(np.float32).min)
"""The score of what may not be suggested: -3.4028235e38, as implicit has it."""

SCORE_BYTES: Final = 64 * 2**20
"""Budget for one dense block of scores: large enough to keep two cores busy, small beside any model."""


WORTH_GROUPING: Final = 8
"""From so many times the scores that are looked through in the end, it is faster to look at maxima first."""


GROUP: Final = 32
"""Columns of a group whose maximum is looked at."""

MANY: Final = 8
"""So many times the scores that are wanted are not worth putting in order."""

CACHED_SCORES: Final = 2**20
"""Scores of a few rows, 4 MB, that are masked, looked through and ranked one after the other."""

FEW_ROWS: Final = 8
"""Below so many rows, the calls that grouping needs cost more than it saves."""


class Sought(NamedTuple):
    """The best n items for one history, of those allowed."""

    columns: Positions
    """Of the history: shape (n_history,), distinct, ascending."""
    values: Scores
    """Of the history: shape (n_history,), finite."""
    n: int
    """How many; at most as many as are allowed."""
    allowed: Flags
    """Shape (n_items,)."""


def rank(
    score: Callable[[csr_array], Scores],
    histories: csr_array,
    n: int,
    *,
    exclude: csr_array | None = None,
    items: Positions | None = None,
    candidates: csr_array | None = None,
    show_progress: bool = False,
) -> tuple[Positions, Scores]:
    """Best ``n`` items for each history, scored in batches that fit ``SCORE_BYTES``.

    Args:
        score: histories (b, n_items) -> fresh, writable scores (b, n_items).
        histories: shape (n_rows, n_items).
        n: length of the lists; shorter if there are fewer items to rank.
        exclude: what each row may not be given, shape (n_rows, n_items); stored entries count, not their values.
        items: rank only these columns, if given.
        candidates: rank only these in each row, shape (n_rows, n_items); stored entries count, not their values.
        show_progress: show a bar over the rows.

    Returns:
        ``(ids, scores)``, each (n_rows, k); see :func:`top_n`.
    """
    n_rows, n_items = histories.shape
    width = min(n, n_items if items is None else len(items))
    ids = np.empty((n_rows, width), dtype=np.int32)
    scores = np.empty((n_rows, width), dtype=np.float32)
    step = max(1, SCORE_BYTES // (4 * max(n_items, 1)))
    with bar("ranking", n_rows, show=show_progress and n_rows > step) as running:
        for start in range(0, n_rows, step):
            rows = slice(start, min(start + step, n_rows))
            ids[rows], scores[rows] = top_n(
                score(histories[rows]),
                n,
                exclude=None if exclude is None else exclude[rows],
                items=items,
                candidates=None if candidates is None else candidates[rows],
            )
            running.advance(rows.stop - rows.start)
    return ids, scores


def top_n(
    scores: Scores,
    n: int,
    *,
    exclude: csr_array | None = None,
    items: Positions | None = None,
    candidates: csr_array | None = None,
) -> tuple[Positions, Scores]:
    """Columns of the ``n`` highest scores of each row, best first; equal scores: the lower column first.

    Excluded entries, and those that are no candidates, are ranked last with the score ``NEVER``, so that every row has the same length: they
    show only where fewer than ``n`` others are left, and the caller drops them there.

    Args:
        scores: shape (n_rows, n_items), without NaN. **Overwritten** where ``exclude`` has an entry, and outside of ``items``.
        n: length of the lists, at least 1; shorter if there are fewer columns.
        exclude: shape (n_rows, n_items); its stored entries are excluded.
        items: rank only these columns, ascending.
        candidates: shape (n_rows, n_items); only its stored entries may be ranked.

    Returns:
        ``(ids, scores)``, int32 and float32, each (n_rows, min(n, columns ranked)).

    Raises:
        ValueError: if ``n`` is below 1.
    """
    if n < 1:
        raise ValueError(f"asked for the best {n} items; ask for 1 or more")
    if candidates is not None:
        cells = _rows_of(candidates), candidates.indices
        wanted = scores[cells]
        scores = np.full_like(scores, NEVER)
        scores[cells] = wanted
    if exclude is not None:
        scores[_rows_of(exclude), exclude.indices] = NEVER
    n = min(n, scores.shape[1] if items is None else len(items))
    if items is not None:
        outside = _few_outside(items, scores.shape[1])
        if outside is None:
            scores = np.ascontiguousarray(scores[:, items])
        else:  # copying nearly all of a wide row takes as long as looking for its best
            scores[:, outside] = -np.inf  # below what is excluded: never among the n
            items = None

    ids, best, tied = _some_best(scores, n)
    for row in np.flatnonzero(tied):  # chosen again, of equal scores the lowest column first
        reached = np.flatnonzero(scores[row] >= best[row].min())
        kept = reached[np.argsort(-scores[row, reached], kind="stable")[:n]]
        ids[row], best[row] = kept, scores[row, kept]

    order = np.lexsort((ids, -best), axis=1)
    ids = np.take_along_axis(ids, order, axis=1)
    best = np.take_along_axis(best, order, axis=1)
    return (ids if items is None else items[ids]).astype(np.int32), best


def _few_outside(items: Positions, n_columns: int) -> Positions | None:
    """The columns that are not among the items, where most are and each comes once; else None."""
    is_outside = np.ones(n_columns, dtype=np.bool_)
    is_outside[items] = False
    outside = np.flatnonzero(is_outside).astype(np.int32)
    return outside if len(outside) == n_columns - len(items) <= len(items) else None


def best_of(scores: Scores, n: int) -> tuple[Positions, Scores]:
    """Columns of the ``n`` highest scores of one row, in the order of :func:`top_n`, for a fraction of its time.

    Args:
        scores: shape (n_items,), without NaN.
        n: from 0 to n_items.

    Returns:
        ``(ids, scores)``, int32 and float32, each (n,).
    """
    if not n:
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    cut = _nth_of_maxima(scores, n) if len(scores) // GROUP > WORTH_GROUPING * n else nth_highest(scores, n)
    reached = np.flatnonzero(scores >= cut)  # n at least
    if len(reached) > MANY * n:  # where few may be ranked, the maxima do not say much
        reached = reached[scores[reached] >= nth_highest(scores[reached], n)]
    chosen = reached[np.argsort(-scores[reached], kind="stable")[:n]]
    return chosen.astype(np.int32), scores[chosen]


def best_of_each(scores: Scores, ns: Sequence[int]) -> list[tuple[Positions, Scores]]:
    """As :func:`best_of` for each row, in a few steps for all of them: meanwhile other threads can work.

    Args:
        scores: shape (n_rows, n_items), without NaN.
        ns: of each row, from 1 to n_items.
    """
    found: list[tuple[Positions, Scores]] = []
    for rows in blocks_of_rows(*scores.shape):
        block = scores[rows]
        wanted = np.asarray(ns[rows])
        reached, columns = reaching(block, wanted)
        if len(reached) > MANY * wanted.sum():  # as in best_of
            reached, columns = np.nonzero(block >= nth_highest_of_each(block, wanted)[:, None])
        found += best_reached(reached, columns, block[reached, columns], wanted)
    return found


def blocks_of_rows(n_rows: int, n_items: int) -> Iterator[slice]:
    """Rows that are looked through at once: as many as a processor's cache holds the scores of."""
    step = max(1, CACHED_SCORES // max(n_items, 1))
    return (slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def best_reached(
    rows: NDArray[np.intp], columns: NDArray[np.intp], scores: Scores, ns: NDArray[np.intp]
) -> list[tuple[Positions, Scores]]:
    """The best of each row among some of its scores, as :func:`best_of` gives them.

    Args:
        rows: from 0 to ``len(ns)`` - 1, in any order; shape (n_scores,).
        columns: shape (n_scores,).
        scores: shape (n_scores,).
        ns: of each row; there are as many of its scores at least.
    """
    order = np.lexsort((columns, -scores, rows))
    ids, scores = columns[order].astype(np.int32), scores[order]
    starts = np.searchsorted(rows[order], np.arange(len(ns))).tolist()
    ends = [start + n for start, n in zip(starts, ns.tolist(), strict=True)]
    return [(ids[start:end], scores[start:end]) for start, end in zip(starts, ends, strict=True)]


def nth_highest(scores: Scores, n: int) -> np.float32:
    """The lowest of the ``n`` highest scores of one row; n from 1 to n_items."""
    cut: np.float32 = np.partition(scores, len(scores) - n)[len(scores) - n]
    return cut


def nth_highest_of_each(scores: Scores, ns: NDArray[np.intp]) -> Scores:
    """The lowest of the ``n`` highest scores of each row, shape (n_rows,); ``ns`` from 1 to n_items."""
    places = scores.shape[1] - ns
    in_place: Scores = np.partition(scores, np.unique(places), axis=1)
    lowest: Scores = in_place[np.arange(len(ns)), places]
    return lowest


def reaching(
    scores: Scores, ns: NDArray[np.intp], slack: Scores | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of all scores that are at most ``slack`` below the n-th highest of their row, and some more.

    Of a long row few scores are looked at: n at least reach the n-th highest of the maxima of its groups. The columns of
    a group lie apart, so that the maxima of many groups are taken at once.

    Args:
        scores: shape (n_rows, n_items), without NaN.
        ns: of each row, from 1 to n_items.
        slack: of each row, 0 or more; None for no slack.

    Returns:
        Each (n_found,), rows and columns in no order.
    """
    n_rows, n_items = scores.shape
    n_groups = n_items // GROUP
    if n_groups <= WORTH_GROUPING * ns.max():
        lowest = nth_highest_of_each(scores, ns) - (0 if slack is None else slack)
        rows, columns = np.nonzero(scores >= lowest[:, None])
        return rows, columns
    n_grouped = n_groups * GROUP
    maxima = scores[:, :n_grouped].reshape(n_rows, GROUP, n_groups).max(axis=1)
    lowest = nth_highest_of_each(maxima, ns) - (0 if slack is None else slack)
    rows, groups = np.nonzero(maxima >= lowest[:, None])
    columns = groups[:, None] + np.arange(0, n_grouped, n_groups)  # (n_reached, GROUP)
    members, places = np.nonzero(scores[rows[:, None], columns] >= lowest[rows, None])
    further, rest = np.nonzero(scores[:, n_grouped:] >= lowest[:, None])  # belong to no group
    return np.concatenate([rows[members], further]), np.concatenate(
        [columns[members, places], rest + n_grouped]
    )


def _nth_of_maxima(scores: Scores, n: int) -> np.float32:
    """The n-th highest of the maxima of a row's groups: as :func:`reaching`, in fewer steps for one row."""
    n_groups = len(scores) // GROUP
    return nth_highest(scores[: n_groups * GROUP].reshape(GROUP, n_groups).max(axis=0), n)


def _some_best(given: Scores, n: int) -> tuple[NDArray[np.int64], Scores, Flags]:
    """Columns of the ``n`` highest scores of each row, in any order, and where the choice was not forced.

    A wide row is read once: the n-th highest of the maxima of its groups is reached by n scores at least, so the best
    n stand in the n groups with the highest maxima, and only these are looked through.

    Args:
        given: shape (n_rows, n_items).
        n: from 1 to n_items.

    Returns:
        ``(ids, best, tied)``: int64 and float32 of shape (n_rows, n); bool (n_rows,), True where other columns may
        have the lowest score chosen too.
    """
    import torch  # takes seconds, and whoever only reads what was measured does without

    scores = torch.from_numpy(given)
    n_items = scores.shape[1]
    width = 2 ** max(
        4, round(math.log2(max(n_items, 1) / max(n, 1)) / 2)
    )  # about the square root: least work
    if len(scores) < FEW_ROWS or n_items < WORTH_GROUPING * n * width:
        found = torch.topk(scores, n, dim=1, sorted=False)
        cut = found.values.amin(dim=1, keepdim=True) if n else found.values
        tied = (scores >= cut).sum(dim=1) > n if n else torch.zeros(len(scores), dtype=torch.bool)
        return found.indices.numpy(), found.values.numpy(), tied.numpy()

    n_groups = n_items // width
    maxima = (
        scores[:, : n_groups * width].reshape(len(scores), n_groups, width).amax(dim=2)
    )  # (n_rows, n_groups)
    groups = torch.topk(maxima, n, dim=1, sorted=False).indices
    columns = (groups[:, :, None] * width + torch.arange(width)).flatten(1)  # (n_rows, n * width)
    rest = torch.arange(n_groups * width, n_items).expand(len(scores), -1)  # belongs to no group
    columns = torch.cat([columns, rest], dim=1)
    looked_at = scores.gather(1, columns)
    found = torch.topk(looked_at, n, dim=1, sorted=False)
    cut = found.values.amin(dim=1, keepdim=True)
    tied = ((looked_at >= cut).sum(dim=1) > n) | ((maxima >= cut).sum(dim=1) > n)
    return columns.gather(1, found.indices).numpy(), found.values.numpy(), tied.numpy()


def hits(ids: Positions, targets: csr_array) -> Flags:
    """Which of the ranked items are targets, shape (n_rows, k).

    Args:
        ids: ranked columns, shape (n_rows, k).
        targets: what each row was to find, shape (n_rows, n_items); stored entries count, not their values.
    """
    n_rows, n_items = targets.shape
    wanted = _rows_of(targets) * n_items + targets.indices
    given = np.arange(n_rows)[:, None] * n_items + ids
    return np.isin(given, wanted)


def ndcg(hits: Flags, n_relevant: NDArray[np.int_], k: int) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain of the first ``k``: hits count less the later they come.

    ``sum_i hit_i / log2(i + 1)`` over ranks i = 1..k, divided by the same sum for a perfect list, which has
    hits in its first min(k, n_relevant) places. Between 0 and 1.

    >>> ndcg(np.array([[True, False, True]]), np.array([2]), 3).round(4)  # (1 + 1/2) / (1 + 1/log2(3))
    array([0.9197])

    Args:
        hits: in rank order, shape (n_rows, at least k columns, or all there are).
        n_relevant: number of targets of each row, at least 1, shape (n_rows,).
        k: the cut-off.

    Returns:
        Shape (n_rows,).

    Source: Jarvelin & Kekalainen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, binary gains.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gained = hits[:, :k] @ discounts[: hits.shape[1]]
    perfect = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]
    return np.asarray(gained / perfect, dtype=np.float64)


def _rows_of(matrix: csr_array) -> NDArray[np.int64]:
    """Row of each stored entry, in storage order."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
