"""Models whose answers are known in advance, small splits to ask them about, and protocols that do."""

from typing import ClassVar

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae.data.idmap import IdMap
from recae.data.interactions import Interactions
from recae.data.splits import Holdout, Split, given
from recae.errors import FitError
from recae.evaluation.protocol import Protocol
from recae.models import registry
from recae.models.base import Model
from recae.models.config import ModelConfig

N_ITEMS = 6


class ByColumnConfig(ModelConfig):
    favourite: int = 0
    seed: int = -1


class ByColumn(Model):
    """Everybody's favourite is one column, then come the others from the left."""

    name = "by_column"
    config_class: ClassVar = ByColumnConfig
    fits: ClassVar[list] = []

    def _fit(self, histories, how):
        if self.config.favourite < 0:
            raise FitError("diverged, as asked")
        self.fits.append((self.config.favourite, histories.toarray(), how.validation))
        self.favourite_ = np.array([self.config.favourite])

    def _score(self, histories):
        row = -np.arange(self.n_items_, dtype=np.float32)
        row[self.favourite_] = 1.0
        return np.tile(row, (histories.shape[0], 1))


class NoFoldIn(ByColumn):
    name = "no_fold_in"
    supports_fold_in = False


class BySeed(ByColumn):
    """Everybody's favourite is the column that the seed names."""

    name = "by_seed"

    def _fit(self, histories, how):
        super()._fit(histories, how)
        self.favourite_ = np.array([self.config.seed])


class EpochsConfig(ByColumnConfig):
    epochs: int = 50


class ByEpochs(ByColumn):
    """By column, and claims that its second epoch was the best."""

    name = "by_epochs"
    config_class: ClassVar = EpochsConfig

    def _fit(self, histories, how):
        super()._fit(histories, how)
        self.training_log_ = {"best_epoch": 2}


class ConstantConfig(ModelConfig):
    rating: float = 3.0
    epochs: int = 50


class Constant(Model):
    """Predicts one rating for everything, and claims that its second epoch was the best."""

    name = "constant"
    feedback = "ratings"
    config_class: ClassVar = ConstantConfig
    fits: ClassVar[list] = []

    def _fit(self, histories, how):
        self.fits.append((self.config, histories, how.validation))
        self.training_log_ = {"best_epoch": 2}

    def _score(self, histories):
        return np.full(histories.shape, self.config.rating, dtype=np.float32)


FAKES = {model.name: model for model in (ByColumn, NoFoldIn, BySeed, ByEpochs, Constant)}


@pytest.fixture
def fake_models(monkeypatch):
    """The registry knows the fakes only, and what they were fitted to is recorded from now on."""
    monkeypatch.setattr(registry, "model_class", FAKES.__getitem__)
    monkeypatch.setattr(ByColumn, "fits", [])
    monkeypatch.setattr(Constant, "fits", [])


def matrix(rows):
    return csr_array(np.array(rows, dtype=np.float32))


def holdout(inputs, targets, first_user=0, **more):
    users = IdMap(f"h{first_user + row}" for row in range(len(inputs)))
    return Holdout(matrix(inputs), matrix(targets), users, **more)


def held_out_split(validation=True):
    """Three users to learn from. Validation wants column 4; test wants column 5, and once column 4."""
    train = matrix([[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 1], [1, 0, 0, 1, 1, 0]])
    return Split(
        name="by hand",
        seed=None,
        train=Interactions(train, IdMap(["a", "b", "c"]), IdMap.of_range(N_ITEMS)),
        validation=holdout([[1, 0, 0, 0, 0, 0]] * 2, [[0, 0, 0, 0, 1, 0]] * 2, first_user=10)
        if validation
        else None,
        test=holdout(
            [[1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]],
            [[0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]],
        ),
        notes={"events that nobody wanted": 3},
    )


def ranking_protocol(*models, **more):
    return Protocol(
        name="by-hand",
        **({} if "seeds" in more else {"seed": 17}),
        data={"source": "made-up"},
        metrics={"report": ["recall@2", "hit_rate@1", "coverage@2"], "select": "recall@1"},
        models=[{"name": "by_column"} | model for model in models],
        **more,
    )


def rating_protocol(**model):
    return Protocol(
        name="ratings",
        data={"source": "made-up", "feedback": "ratings"},
        metrics={"report": ["rmse", "mae"], "select": "rmse"},
        models=[{"name": "constant"} | model],
    )


def rating_split():
    """Validation is all 2s, the test all 4s; a 0.0 is a rating like any other."""
    users, items = IdMap(["a", "b", "c"]), IdMap.of_range(4)
    train = matrix([[5, 0, 0, 0], [0, 5, 0, 0], [1, 1, 0, 0]])
    train.data[0] = 0.0
    parts = [
        train,
        matrix([[0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]),
        matrix([[0, 0, 4, 0], [0] * 4, [0, 0, 0, 4]]),
    ]
    return given(*(Interactions(part, users, items) for part in parts))
