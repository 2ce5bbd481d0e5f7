"""A log of two tastes whose right answers show at a glance, and a model of it.

Science fiction is a b c, drama is x y z. Each of the users 1, 2, 3 likes two of the first and lacks one, the users
4, 5, 6 likewise of the second, and user 7 likes a alone. So c is what user 1 lacks, and a is the most popular.
"""

import numpy as np
from scipy.sparse import csr_array

from recae.data.catalogue import Catalogue, Item
from recae.data.idmap import IdMap
from recae.models.linear import EASE
from recae.recommender import Recommender

ITEMS = IdMap(["a", "b", "c", "x", "y", "z"])
USERS = IdMap(["1", "2", "3", "4", "5", "6", "7"])
LIKES = csr_array(
    np.array(
        [
            [1, 1, 0, 0, 0, 0],
            [0, 1, 1, 0, 0, 0],
            [1, 0, 1, 0, 0, 0],
            [0, 0, 0, 1, 1, 0],
            [0, 0, 0, 0, 1, 1],
            [0, 0, 0, 1, 0, 1],
            [1, 0, 0, 0, 0, 0],
        ],
        dtype=np.float32,
    )
)
CATALOGUE = Catalogue(
    [
        Item("a", "Alien", 1979, ("Sci-Fi", "Horror")),
        Item("b", "Brazil", 1985, ("Sci-Fi",)),
        Item("c", "Contact", 1997, ("Sci-Fi", "Drama")),
        Item("x", "Hamlet", 1948, ("Drama",)),
        Item("y", "Hamlet", 1990, ("Drama",)),
        Item("z", None, None, ("Drama",)),
    ]
)


def fitted_ease(l2: float = 1.0) -> EASE:
    """EASE on the two tastes."""
    return EASE(l2=l2).fit(LIKES, show_progress=False)


def two_tastes(version: str = "v1") -> Recommender:
    """A recommender of the two tastes."""
    return Recommender(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE, version=version)
