"""Small data with known answers, and every registered model with settings that suit it."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recae.models import create

SETTINGS = {
    "popularity": {},
    "item_knn": {"n_neighbours": 24},
    "als": {"n_factors": 3, "l2": 0.01},
    "bpr": {"n_factors": 4, "epochs": 20, "batch_size": 32, "learning_rate": 0.03},
    "lmf": {"n_factors": 4, "epochs": 40, "batch_size": 8, "learning_rate": 0.03, "weight_decay": 0.1},
    "pure_svd": {"n_factors": 2},
    "gf_cf": {"n_factors": 2},
    "rating_means": {},
    "biased_mf": {"n_factors": 2, "l2": 4.0, "epochs": 10},
    "ease": {"l2": 1.0},
    "edlae": {"l2": 1.0, "dropout": 0.3},
    "rlae": {"l2": 1.0, "max_self_weight": 0.1},
    "rdlae": {"l2": 1.0, "dropout": 0.3, "max_self_weight": 0.1},
    "dan": {"l2": 1.0, "dropout": 0.3, "max_self_weight": 0.1},
    "slist": {"l2": 1.0, "dropout": 0.1, "similarity_share": 0.5},
    "sparsified": {"base": "dan", "settings": {"l2": 1.0, "max_self_weight": 0.1}, "n_per_item": 14},
    "elsa": {"n_latent": 8, "epochs": 20, "batch_size": 8},
    "dae": {"n_hidden": 4, "epochs": 40, "batch_size": 8, "learning_rate": 0.03},
    "cdae": {"n_hidden": 4, "epochs": 40, "batch_size": 8, "learning_rate": 0.03},
    "sparse_ae": {"n_hidden": 8, "n_active": 2, "epochs": 40, "batch_size": 8, "learning_rate": 0.03},
    "autorec": {
        "by": "item", "n_hidden": 16, "epochs": 40, "batch_size": 8, "learning_rate": 0.02, "fold_in_l2": 0.1
    },
    "deep_autorec": {
        "n_hidden": 4, "n_code": 4, "dropout": 0.1, "epochs": 80, "batch_size": 8, "learning_rate": 0.01,
        "weight_decay": 0.01
    },
    "rating_blend": {
        "members": [
            {"name": "biased_mf", "settings": {"n_factors": 2, "l2": 4.0, "epochs": 10}},
            {"name": "autorec", "settings": {"by": "user", "n_hidden": 16, "epochs": 40, "batch_size": 8, "learning_rate": 0.02}},
        ]
    },
    "sparsefc": {"n_hidden": 8, "l2": 0.1, "sparsity": 0.001, "epochs": 3, "fold_in_l2": 0.5},
    "mult_dae": {"n_hidden": 16, "n_latent": 4, "epochs": 40, "batch_size": 8, "learning_rate": 0.02},
    "mult_vae": {
        "n_hidden": 16, "n_latent": 4, "epochs": 40, "batch_size": 8, "learning_rate": 0.02, "kl_weight": 0.05
    },
    "cosine_dae": {"n_latent": 8, "epochs": 40, "batch_size": 8, "learning_rate": 0.02},
    "recvae": {
        "n_hidden": 16, "n_latent": 4, "epochs": 20, "batch_size": 8, "learning_rate": 0.02, "gamma": 0.001
    },
    "hvamp_vae": {
        "n_hidden": 16, "n_latent": 4, "n_pseudo": 6, "epochs": 40, "batch_size": 8, "learning_rate": 0.02,
        "kl_weight": 0.05
    },
    "sequential_vae": {
        "n_embedding": 8, "n_hidden": 16, "n_latent": 4, "epochs": 30, "batch_size": 8, "learning_rate": 0.02,
        "dropout": 0.0, "kl_weight": 0.0
    },
    "blend": {
        "members": [{"name": "ease", "settings": {"l2": 1.0}}, {"name": "als", "settings": {"n_factors": 3, "l2": 0.01}}],
        "weights": [2.0, 1.0],
    },
}  # fmt: skip

N = 24


def two_tastes(n: int = N) -> csr_matrix:
    """Even users chose the even items, odd users the odd ones; the user's own number is withheld."""
    chosen = np.add.outer(np.arange(n), np.arange(n)) % 2 == 0
    np.fill_diagonal(chosen, val=False)
    return csr_matrix(chosen.astype(np.float32))


def two_tastes_rated(n: int = N) -> csr_matrix:
    """The same in stars: 5 for the own taste; of the other taste each user tried a third, for 1 star."""
    rows, columns = np.indices((n, n))
    own = (rows + columns) % 2 == 0
    tried = ~own & ((rows + columns) % 3 == 0)
    ratings = 5.0 * own + 1.0 * tried
    np.fill_diagonal(ratings, 0.0)
    return csr_matrix(ratings.astype(np.float32))


def two_tastes_in_order(n: int = N) -> csr_matrix:
    """The same in an order that means nothing: the values are places in time, drawn for each user."""
    matrix = two_tastes(n)
    rng = np.random.default_rng(0)
    matrix.data = np.concatenate([rng.permutation(size) + 1 for size in np.diff(matrix.indptr)])
    return matrix.astype(np.float32)


def random_choices() -> csr_matrix:
    """30 users and 20 items: users 2 and 7 chose the same, user 11 chose nothing, and nobody chose item 5."""
    dense = np.random.default_rng(3).random((30, 20)) < 0.25
    dense[7] = dense[2]
    dense[11] = False
    dense[:, 5] = False
    return csr_matrix(dense.astype(np.float32))


DATA = {"implicit": two_tastes, "ratings": two_tastes_rated, "sequences": two_tastes_in_order}


class Case:
    """A model by name, with settings and data on which its answers are known."""

    def __init__(self, name, **settings):
        self.name = name
        self.settings = SETTINGS[name] | settings
        self.is_personal = name not in {"popularity", "rating_means"}
        self.data = DATA[self.make().feedback]()

    def make(self, **settings):
        return create(self.name, **(self.settings | settings))

    @property
    def few_epochs(self):
        """Settings for tests where nothing depends on what was learned."""
        if self.name == "rating_blend":
            members = self.settings["members"]
            return {"members": [each | {"settings": each["settings"] | {"epochs": 2}} for each in members]}
        return {"epochs": 2} if hasattr(self.make().config, "epochs") else {}

    def fitted(self, data=None, **settings):
        return self.make(**settings).fit(self.data if data is None else data, show_progress=False)


CASES = [Case(name) for name in SETTINGS] + [Case("autorec", by="user")]
LAZY = [Case("autorec", by=by, adam="lazy") for by in ("item", "user")]
"""For what depends on the kind of step."""


def named(cases):
    def name(case):
        return "-".join(filter(None, [case.name, case.settings.get("by"), case.settings.get("adam")]))

    return [pytest.param(case, id=name(case)) for case in cases]
