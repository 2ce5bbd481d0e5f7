"""From a history to the N best items: the one way that the HTTP API, the CLI and the evaluation share.

`Recommender.rank` works on matrices, a batch of histories at a time; `Recommender.recommend` answers one
request in ids and titles, through the same function.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from recae.candidates import Candidates
from recae.data.catalogue import Catalogue
from recae.data.idmap import IdMap
from recae.errors import DataError, ModelError
from recae.models.base import Model
from recae.models.ranking import NEVER, Positions, Scores, rank, top_n

Strategy: TypeAlias = Literal["model", "fold_in", "fallback"]

MAX_WEIGHT = 1e6
"""Largest weight of one item in a history; float32 sums of squares stay finite far beyond it."""


@dataclass(frozen=True)
class RankedItem:
    """One place in a ranking; ``rank`` counts from 1 over the whole ranking, before any offset."""

    item_id: str
    score: float
    rank: int
    title: str | None


@dataclass(frozen=True)
class Ranking:
    """Items, best first; ``short`` says why there are fewer than were asked for."""

    items: tuple[RankedItem, ...]
    short: str | None = None


@dataclass(frozen=True)
class Recommendations(Ranking):
    """The answer to one request.

    ``strategy`` is "model" for the history a training user is known by, "fold_in" for a history sent with the
    request, "fallback" (most popular first) where no known history exists. ``unknown_items`` are ids of the
    request that the model never saw; they were left out.
    """

    strategy: Strategy = "fallback"
    unknown_items: tuple[str, ...] = ()
    next_offset: int | None = None


class Recommender:
    """A fitted model with the names of its rows and columns.

    Args:
        model: a fitted model.
        items: the model's columns.
        users: the rows it was fitted on; without them every user is unknown.
        catalogue: titles and categories.
        version: the name of the stored version, for the answers' headers.

    Raises:
        NotFittedError: if the model has learned nothing yet.
        ModelError: if ``items`` or ``users`` do not have the model's size.
    """

    def __init__(
        self,
        model: Model,
        items: IdMap,
        *,
        users: IdMap | None = None,
        catalogue: Catalogue | None = None,
        version: str = "unsaved",
    ) -> None:
        if len(items) != model.n_items_:
            raise ModelError(
                f"the model has {model.n_items_:,} items, its id map {len(items):,}; they must agree"
            )
        if users is not None and len(users) != model.n_users_:
            raise ModelError(
                f"the model has {model.n_users_:,} users, its id map {len(users):,}; they must agree"
            )
        self.model = model
        self.items = items
        self.users = users
        self.catalogue = catalogue
        self.version = version
        self._candidates = Candidates(items, catalogue)

    def rank(
        self,
        histories: csr_array,
        n: int,
        *,
        seen: csr_array | None = None,
        items: Positions | None = None,
        candidates: csr_array | None = None,
        show_progress: bool = False,
    ) -> tuple[Positions, Scores]:
        """The n best items of every history, in bounded memory however many rows there are.

        Args:
            histories: shape (n_rows, n_items); rows need not be training users.
            n: places per row; fewer come back when there are fewer candidates.
            seen: shape (n_rows, n_items); its stored entries are not recommended. None excludes nothing.
            items: candidate columns; None for all.
            candidates: shape (n_rows, n_items); its stored entries are the only ones ranked in each row.
            show_progress: show a bar over the rows.

        Returns:
            ids and scores, each (n_rows, k), best first, k = min(n, columns). Where a row has fewer than k
            items left, excluded ones stand at the end with the score `recae.models.ranking.NEVER`.

        Raises:
            ValueError: if a shape does not fit, or n is below 1.
        """
        if histories.shape[1] != len(self.items):
            raise ValueError(
                f"histories have {histories.shape[1]:,} columns, the model has {len(self.items):,} items"
            )
        for called, given in (("seen has", seen), ("candidates have", candidates)):
            if given is not None and given.shape != histories.shape:
                raise ValueError(
                    f"{called} the shape {given.shape}, histories have {histories.shape}; they must agree"
                )
        return rank(
            self.model.score,
            histories,
            n,
            exclude=seen,
            items=items,
            candidates=candidates,
            show_progress=show_progress,
        )

    def recommend(
        self,
        history: Mapping[str, float | None] | Iterable[str] = (),
        n: int = 10,
        *,
        user_id: str | None = None,
        offset: int = 0,
        exclude_seen: bool = True,
        include_items: Sequence[str] | None = None,
        exclude_items: Iterable[str] = (),
        categories: Iterable[str] = (),
    ) -> Recommendations:
        """Answer one request.

        Args:
            history: item ids, or item id -> weight; None is the usual weight (1, or the mean rating of a model
                of ratings). Added to what the model knows about ``user_id``, and stronger where both name an item.
                A model of sequences goes by the order: earliest first, after what is known, and without weights;
                an item that comes twice stands at its later place.
            n: how many items.
            user_id: a user of the training log; an unknown one is no error.
            offset: places to skip.
            exclude_seen: leave the history's own items out.
            include_items: the only candidates; None for the whole catalogue.
            exclude_items: never recommend these.
            categories: recommend only items that have at least one of these, whatever its case.

        Raises:
            ValueError: if n is below 1 or offset below 0.
            DataError: if a weight is nothing the model can take.
        """
        if n < 1 or offset < 0:
            raise ValueError(f"n is {n} and offset {offset}; expected n >= 1 and offset >= 0")
        sent = dict(history) if isinstance(history, Mapping) else dict.fromkeys(_latest(history))
        row, strategy = self._history(sent, user_id)
        allowed = self._candidates.allowed(include_items, exclude_items, categories)
        if exclude_seen:
            allowed[row.indices] = False
        columns = np.flatnonzero(allowed).astype(np.int32)
        page = self._ranked(row, strategy, offset + n, columns)[offset:]
        unknown = self.items.known(dict.fromkeys([*sent, *(include_items or ())]))[1]
        return Recommendations(
            items=page,
            short=_short(len(page), n, offset, len(columns)),
            strategy=strategy,
            unknown_items=tuple(unknown),
            next_offset=offset + n if len(columns) > offset + n else None,
        )

    def popular(self, n: int = 10) -> Ranking:
        """What most training users have, most popular first; the score is their number."""
        ids, scores = top_n(self._popularity, n)
        ranked = self._named(ids[0], scores[0])
        return Ranking(ranked, _short(len(ranked), n, 0, len(self.items)))

    def similar(self, item_id: str, n: int = 10) -> Ranking:
        """The items nearest to one item by the model's own measure, without the item itself.

        Raises:
            UnknownIdError: if the model does not know the item.
        """
        position = int(self.items.positions([item_id])[0])
        ids, scores = self.model.similar_items(position, N=min(n + 1, len(self.items)))
        keep = (ids != position) & (scores > NEVER)  # a padded place is no neighbour
        ranked = self._named(ids[keep][:n], scores[keep][:n])
        return Ranking(ranked, _short(len(ranked), n, 0, len(self.items) - 1))

    def title(self, item_id: str) -> str | None:
        """An item's title, if the catalogue has one."""
        return self.catalogue.title(item_id) if self.catalogue is not None else None

    def knows_user(self, user_id: str) -> bool:
        """Whether the user was in the training log."""
        return self.users is not None and user_id in self.users

    @cached_property
    def _popularity(self) -> Scores:
        """Training users per item, shape (1, n_items)."""
        counts = np.bincount(self.model.histories_.indices, minlength=len(self.items))
        return counts.astype(np.float32)[np.newaxis, :]

    @cached_property
    def _usual_weight(self) -> float:
        """What an item counts that was sent without a weight: 1 says "liked", but as a rating it would say "worst"."""
        values = self.model.histories_.data
        return float(values.mean()) if self.model.feedback == "ratings" and len(values) else 1.0

    def _history(self, sent: dict[str, float | None], user_id: str | None) -> tuple[csr_array, Strategy]:
        """The request's history as one row, and what can be done with it."""
        row: dict[int, float] = {}  # column -> weight
        if user_id is not None and self.users is not None and user_id in self.users:
            stored = self.model.histories_[[self.users.position(user_id)]]
            row.update(zip(stored.indices.tolist(), stored.data.tolist(), strict=True))
        added = {item_id: weight for item_id, weight in sent.items() if item_id in self.items}
        known_until = max(row.values(), default=0.0)
        for place, (item_id, weight) in enumerate(added.items(), start=1):
            is_ordered = self.model.feedback == "sequences"
            value = (
                self._place(item_id, weight, known_until + place)
                if is_ordered
                else self._weight(item_id, weight)
            )
            row[self.items.position(item_id)] = value
        strategy: Strategy = "model" if row else "fallback"
        if added:
            strategy = "fold_in" if self.model.supports_fold_in else "fallback"
        columns = np.array(sorted(row), dtype=np.int32)
        values = np.array([row[column] for column in sorted(row)], dtype=np.float32)
        return csr_array((values, columns, [0, len(columns)]), shape=(1, len(self.items))), strategy

    def _place(self, item_id: str, weight: float | None, place: float) -> float:
        if weight is not None:
            raise DataError(
                f"item {item_id!r} has the weight {weight}; {self.model.name} goes by the order of a history: "
                "name its items earliest first, without weights"
            )
        return place

    def _weight(self, item_id: str, weight: float | None) -> float:
        if weight is None:
            return self._usual_weight
        if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
            raise DataError(
                f"item {item_id!r} has the weight {weight}; expected a number up to {MAX_WEIGHT:g}"
            )
        if weight <= 0 and self.model.feedback == "implicit":
            raise DataError(
                f"item {item_id!r} has the weight {weight}; {self.model.name} learned from likings: above 0"
            )
        return weight

    def _ranked(
        self, row: csr_array, strategy: Strategy, n: int, candidates: Positions
    ) -> tuple[RankedItem, ...]:
        if not len(candidates):
            return ()
        if strategy == "fallback":
            ids, scores = top_n(self._popularity, min(n, len(candidates)), items=candidates)
        else:
            ids, scores = self.rank(row, n, items=candidates)
        return self._named(ids[0], scores[0])

    def _named(self, ids: Positions, scores: Scores) -> tuple[RankedItem, ...]:
        return tuple(
            RankedItem(self.items[column], score, rank, self.title(self.items[column]))
            for rank, (column, score) in enumerate(zip(ids.tolist(), scores.tolist(), strict=True), start=1)
        )


def _latest(history: Iterable[str]) -> list[str]:
    """Each id once, where it stands last."""
    return list(dict.fromkeys(reversed(list(history))))[::-1]


def _short(found: int, asked: int, offset: int, candidates: int) -> str | None:
    if found == asked:
        return None
    skipped = f" and {offset:,} of them are skipped by the offset" if offset else ""
    return f"{candidates:,} item(s) are left after what was seen, excluded or filtered out{skipped}"
