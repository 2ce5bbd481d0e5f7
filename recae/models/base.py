"""The contract every model keeps, and the checks they share."""

import time
from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, csr_matrix

from recae.data.holdout import Feedback, Holdout
from recae.errors import DataError, FitError
from recae.models.attribution import Attribution
from recae.models.config import ModelConfig, validated
from recae.models.devices import device_of
from recae.models.matrices import (
    as_asked,
    as_batch,
    as_rows,
    canonical,
    check_range,
    selection,
    stacked,
    training_matrix,
)
from recae.models.ranking import NEVER, Positions, Scores, Sought, best_of_each, rank
from recae.models.search_spaces import SearchSpace
from recae.models.storage import check_folder
from recae.models.storing import Storing
from recae.models.trainer import Callback, Watch, fingerprint
from recae.models.warm import WarmStart


@dataclass(frozen=True)
class Fit:
    """How one ``fit`` is to go: what the caller of :meth:`Model.fit` asked for beside the data."""

    show_progress: bool
    callback: Callback
    validation: Holdout | None
    checkpoint: str | None
    warm_start: WarmStart | None = None
    watch: Watch | None = None

    def fingerprint(self, model: "Model", histories: csr_array) -> str:
        """Names what the state of a training depends on, for its checkpoint."""
        start = "" if self.warm_start is None or self.checkpoint is None else self.warm_start.fingerprint()
        # with the name, for some kinds have the same settings
        settings = model.name + model.config.model_dump_json(exclude={"device"})
        asked = self.validation if model.chooses_on_validation else None
        return fingerprint(settings + start, histories, asked)


class Model(Attribution, Storing):
    """A recommender that scores histories, whoever they belong to.

    A model is fitted to a users x items matrix and scores rows of such matrices: a user of the training log
    and one who came a second ago take the same path. ``recommend``, ``similar_items``, ``similar_users``,
    ``save`` and ``load`` have the names, arguments, return values and errors of implicit's
    ``RecommenderBase``, so that code written for implicit runs on every model here.

    A subclass names itself and its config, and writes ``_fit`` and ``_score``. Learned fields end in ``_``.

    Args:
        config: all settings at once, or
        settings: single ones by name; the rest keep their defaults.

    Raises:
        ConfigError: if a setting is unknown or out of range.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[ModelConfig]]
    feedback: ClassVar[Feedback] = "implicit"
    """What the values mean: strength of a liking (absent is weak dislike), ratings (absent is unknown), or places in
    time (of two items of a row, the one with the larger value came later; their size means nothing)."""
    supports_fold_in: ClassVar[bool] = True
    """Whether a history that was not in the training data can be scored."""
    supports_warm_start: ClassVar[bool] = False
    """Whether training can go on from an earlier model; what is fitted in closed form keeps nothing to start from."""
    keeps_checkpoints: ClassVar[bool] = False
    """Whether ``fit`` writes its state to a checkpoint and goes on from one; every other begins anew."""
    reads_all_weights: ClassVar[bool] = False
    """Whether each scoring reads all weights, however few histories it is of: then several together take little longer
    than one."""
    search_space: ClassVar[SearchSpace] = {}
    """Setting -> what is worth trying of it, for `recae tune`; empty where there is nothing to tune."""
    free_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings that what was learned does not depend on: see :meth:`retuned`."""

    def __init__(self, config: ModelConfig | None = None, **settings: Any) -> None:
        if config is not None and settings:
            raise TypeError("give a config or single settings, not both")
        if config is not None and not isinstance(config, self.config_class):
            raise TypeError(
                f"{type(self).__name__} takes {self.config_class.__name__}, got {type(config).__name__}"
            )
        self.config = config or validated(self.config_class, self.name, settings)

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self.config.model_dump().items())
        return f"{type(self).__name__}({settings})"

    # ---------------------------------------------------------------- learning

    def fit(
        self,
        user_items: Any,
        show_progress: bool = True,
        callback: Callback | None = None,
        *,
        validation: Holdout | None = None,
        checkpoint: str | None = None,
        warm_start: WarmStart | None = None,
        watch: Watch | None = None,
    ) -> Self:
        """Learn from interactions; what an earlier ``fit`` learned is forgotten.

        Args:
            user_items: sparse, shape (n_users, n_items), float32 or float64; any sparse format but CSR is
                converted with a warning. Not modified. Entries of one user and item are added up; of places in time the
                later counts.
            show_progress: show a bar where fitting takes many steps.
            callback: called after each epoch; at least once.
            validation: held-out users or ratings on which models that train by epochs choose when to stop.
                Some of its rows have something to find, and its columns are those of ``user_items``.
            checkpoint: file to which models that keep one (``keeps_checkpoints``) write their state after each epoch. If
                it is there, training goes on from it and ends with the model an unbroken run would have given.
            warm_start: an earlier model of the same kind to start from in place of random weights; it may be this one.
            watch: called after each epoch with its validation value, where the model watches one.

        Raises:
            DataError: if the matrix is empty or holds NaN, infinite values or some above 1e15, or values the model cannot
                take; or the validation is of other columns.
            WarmStartError: if the model cannot start from any, or the earlier one is of another kind or size.
            FitError: if training ended in NaN or infinite weights, or the validation has nothing to find.
            ConfigError: if this host lacks the device that the settings name.
            CheckpointError: if the checkpoint's folder is missing, or the checkpoint damaged or of another run.
        """
        self.check_device()
        if checkpoint is not None:
            check_folder(checkpoint)
        histories = training_matrix(user_items, self.feedback)
        self.check_values(histories)
        if validation is not None:
            validation = as_asked(validation, self.feedback, histories.shape[1])
        if warm_start is not None:
            warm_start.check(self, histories.shape)
            # it may be this one, which forgets now
            warm_start = replace(warm_start, model=copy(warm_start.model))
        for learned in [field for field in vars(self) if field != "config"]:
            delattr(self, learned)
        started = time.perf_counter()
        n_calls = 0

        def counted(epoch: int, seconds: float, loss: float | None) -> None:
            nonlocal n_calls
            n_calls += 1
            if callback is not None:
                callback(epoch, seconds, loss)

        self._fit(histories, Fit(show_progress, counted, validation, checkpoint, warm_start, watch))
        self._check_finite()
        self.histories_ = histories
        if n_calls == 0:
            counted(0, time.perf_counter() - started, None)
        return self

    def check_device(self) -> None:
        """Refuse settings that name a device which this host lacks, before any work.

        Raises:
            ConfigError: that says what there is.
        """
        device_of(getattr(self.config, "device", "cpu"))

    def check_values(self, histories: csr_array) -> None:
        """Refuse values that this model cannot learn from, before anything is forgotten.

        Args:
            histories: what it is to learn from, float32 and canonical.

        Raises:
            DataError: that says which, and what to do.
        """

    def retuned(self, config: ModelConfig) -> Self | None:
        """This fitted model under other settings, without fitting again; what was learned is shared, not copied.

        Args:
            config: may differ from the model's own in :attr:`free_settings` only.

        Returns:
            None if it differs in others, which need a fit.
        """
        self._fitted()
        if config.model_dump(exclude=set(self.free_settings)) != self.config.model_dump(
            exclude=set(self.free_settings)
        ):
            return None
        model = type(self)(config)
        vars(model).update({field: value for field, value in vars(self).items() if field != "config"})
        return model

    @abstractmethod
    def _fit(self, histories: csr_array, how: Fit) -> None:
        """Set the learned fields. ``histories`` is float32 and canonical, and must not be modified."""

    def _check_finite(self) -> None:
        for field in self.not_finite():
            raise FitError(
                f"{self.name} ended with NaN or infinite values in {field!r}; "
                "raise its regularisation, or lower its learning rate"
            )

    @property
    def chooses_on_validation(self) -> bool:
        """Whether ``fit`` chooses something, such as the number of epochs, where it is given a validation."""
        return "patience" in type(self.config).model_fields

    @property
    def measured(self) -> dict[str, float]:
        """Name -> what the fit measured of the model beside how well it ranks, such as how sparse it came out; mostly nothing.

        `recae train` says it, and it is kept in a stored model's manifest and in the results of an evaluation.
        """
        return {}

    def settled_config(self) -> ModelConfig:
        """The settings of this fitted model with what its validation chose, for a fit without a validation."""
        log = getattr(self, "training_log_", None)
        return self.config if log is None else self.config.model_copy(update={"epochs": log["best_epoch"]})

    def continuing(self, earlier: "Model") -> Self:
        """An unfitted model for a training on from ``earlier`` that no validation is to judge.

        Args:
            earlier: fitted; of any kind.

        Returns:
            With these settings, but no more epochs than the earlier one's.
        """
        mine, before = (getattr(model.config, "epochs", None) for model in (self, earlier))
        if mine is None or before is None or mine <= before:
            return self
        return type(self)(self.config.model_copy(update={"epochs": before}))

    # ---------------------------------------------------------------- scoring

    def score(self, histories: Any) -> Scores:
        """Score every item for each history, higher is better; ratings models predict ratings.

        Args:
            histories: sparse CSR, shape (n_rows, n_items_); rows need not be users of the training data, an
                empty row gets finite scores.

        Returns:
            Fresh float32 array, shape (n_rows, n_items_).

        Raises:
            NotFittedError: before ``fit``.
            DataError: if the number of columns differs from the training data, or a value is not finite or above 1e15.
        """
        self._fitted()
        return self._score(self._checked(histories))

    def score_row(self, columns: Positions, values: Scores) -> Scores:
        """Score every item for one history that is known to be sound, as :meth:`score` does, without its checks.

        Args:
            columns: shape (n,), distinct, ascending.
            values: shape (n,), finite.

        Returns:
            Fresh float32 array, shape (n_items_,).
        """
        bounds = np.array([0, len(columns)], dtype=np.int32)
        scores: Scores = self._score(csr_array((values, columns, bounds), shape=(1, self.n_items_)))[0]
        return scores

    def best_rows(self, sought: Sequence[Sought]) -> list[tuple[Positions, Scores]]:
        """The best items for each of several histories, as :func:`~recae.models.ranking.best_of` gives them.

        Args:
            sought: the histories, as :meth:`score_row` takes them, and what is wanted of each.

        Returns:
            Columns and scores, each (n,), for each history.
        """
        if not sought:
            return []
        scores = self._score(stacked(sought, self.n_items_))
        for row, one in zip(scores, sought, strict=True):
            np.copyto(row, NEVER, where=~one.allowed)
        return best_of_each(scores, [one.n for one in sought])

    @abstractmethod
    def _score(self, histories: csr_array) -> Scores:
        """Scores of canonical float32 histories: a fresh, writable array."""

    def recommend(
        self,
        userid: int | ArrayLike,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: ArrayLike | None = None,
        recalculate_user: bool = False,  # noqa: ARG002 - every score is computed from user_items
        items: ArrayLike | None = None,
    ) -> tuple[Positions, Scores]:
        """Best items for one user or a batch of them, from the histories in ``user_items``.

        As implicit's ``recommend``, with ``recalculate_user`` always in force: ``userid`` only says how many
        rows are asked for, unless ``user_items`` is None; then the training rows of those users serve.

        Args:
            userid: one id, or an array of them.
            user_items: CSR, a row for each id.
            N: items wanted.
            filter_already_liked_items: rank the items of the history last, with score -3.4028235e38.
            filter_items: items that are not returned at all.
            recalculate_user: taken for compatibility.
            items: rank only these.

        Returns:
            ``(ids, scores)``, best first: shape (k,) for one user, (n, k) for a batch, with k = N or the number
            of items that may be ranked, if that is less.

        Raises:
            ValueError: if ``user_items`` is not CSR or its rows do not match ``userid``, or both ``items`` and
                ``filter_items`` are given.
            IndexError: if an item id is out of range.
        """
        self._fitted()
        users, single = as_batch(userid)
        if user_items is None:
            check_range(users, self.n_users_, "userid")
            user_items = self.histories_[users]
        user_items = as_rows(user_items)
        if not isinstance(user_items, csr_matrix | csr_array):
            raise ValueError(  # noqa: TRY004 - implicit's error
                f"user_items needs to be a CSR sparse matrix, got {type(user_items).__name__}"
            )
        if user_items.shape[0] != len(users):
            raise ValueError(
                "user_items must contain 1 row for every user in userids: "
                f"got {user_items.shape[0]} row(s) for {len(users)} user(s)"
            )
        histories = self._checked(user_items)
        ids, scores = rank(
            self._score,
            histories,
            N,
            exclude=histories if filter_already_liked_items else None,
            items=selection(self.n_items_, "item", items, filter_items),
        )
        return (ids[0], scores[0]) if single else (ids, scores)

    # ---------------------------------------------------------------- checks

    def _checked(self, histories: Any) -> csr_array:
        matrix = canonical(histories, self.feedback)
        if matrix.shape[1] != self.n_items_:
            raise DataError(
                f"histories have {matrix.shape[1]:,} columns, the model knows {self.n_items_:,} items; "
                "build them with the model's own item ids"
            )
        return matrix
