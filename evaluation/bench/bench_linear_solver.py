"""The solver of the linear autoencoders against the bare LAPACK calls, on Gowalla's shape at three tenths of its size.

The floor is cubic: LAPACK's potrf and potri take n_items^3 operations (1.9e12 here, 6.9e13 at full size). With fewer users
than items the users' side is inverted: (n_users / n_items)^3 = 0.39 of them, and sparse products to come back.
"""

from collections.abc import Callable

import numpy as np
from bench_ranking import histories
from scipy.linalg.lapack import spotrf, spotri

from recae.models import create, gram

N_USERS, N_ITEMS = 8_957, 12_294


def bench_solver_ease() -> Callable[[], object]:
    """EASE, 8,957 users x 12,294 items, whole fit"""
    training = histories(N_USERS, N_ITEMS)
    return lambda: create("ease").fit(training, show_progress=False)


def bench_solver_ease_by_items() -> Callable[[], object]:
    """EASE as above, made to invert the items' side"""
    gram.USERS_SIDE = 0.0  # this process runs this benchmark alone
    return bench_solver_ease()


def bench_solver_lapack() -> Callable[[], object]:
    """LAPACK's potrf and potri through scipy on one float32 matrix of 12,294 rows, in place"""
    matrix = gram.gram_matrix(histories(N_USERS, N_ITEMS)).numpy()
    matrix[np.diag_indices(N_ITEMS)] += 500.0

    def work() -> object:
        factor, failed = spotrf(matrix.T.copy(order="F"), lower=1, overwrite_a=1)
        inverse, failed_too = spotri(factor, lower=1, overwrite_c=1)
        if failed or failed_too:
            raise RuntimeError(f"LAPACK gave up at row {failed or failed_too}")
        return inverse

    return work
