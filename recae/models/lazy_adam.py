"""Lazy Adam: steps that move the rows of a weight matrix which a batch has touched, and pass over no others.

A batch of a sparse log has entries in few columns, and where a loss looks at entries alone, the gradient of a matrix with
a row for each column is 0 in all other rows. A dense step makes that gradient all the same, and moves every weight by its
moments and its decay, so that an epoch costs batches x columns, however few the entries are. Here a gradient holds the
touched rows, and a step reads and writes these.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from recae.models.optimisers import Adam


def touched_share(n_entries: NDArray[np.integer[Any]], n_rows: int, batch_size: int) -> float:
    """Share of the columns in which a batch has an entry, to be expected of batches drawn at random; 0 to 1.

    A batch of b among n rows misses a column with c entries with probability (1 - b / n)^c, as if each of these were
    drawn by itself.

    Args:
        n_entries: of each column, shape (n_columns,), n_columns at least 1.
        n_rows: that batches are drawn from, at least 1.
        batch_size: rows in a batch; more than there are count as all.
    """
    return float(np.mean(1.0 - (1.0 - min(1.0, batch_size / n_rows)) ** n_entries))


def rows_of(weights: Tensor, rows: Tensor) -> Tensor:
    """``weights[rows]`` along the first axis, with a sparse gradient: it holds these rows and nothing of the others.

    Args:
        weights: shape (n, ...).
        rows: int64, each of them once.
    """
    found: Tensor = _RowsOf.apply(weights, rows)  # type: ignore[no-untyped-call] # torch gives it no types
    return found


class _RowsOf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = weights.shape
        return weights.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return torch.sparse_coo_tensor(rows[None], gradients[0], ctx.shape, check_invariants=False), None


class LazyAdam(Adam):
    """Adam that takes its step, of a parameter with a sparse gradient, on the rows which the gradient holds.

    All other rows stand still, to the bit: their moments do not fade, and their weights do not decay. Moments are corrected
    for their start at 0 by the number of all steps. Where a sparse gradient holds every row, and for parameters with
    a dense one, a step is that of :class:`~recae.models.optimisers.Adam` with ``fused=True``, to the bit. A sparse gradient
    may hold each row once only, as those of :func:`rows_of` do, in whatever order.

    ``torch.optim.SparseAdam`` takes the same steps, without weight decay and in several times the time.
    """

    def __init__(self, params: Any, lr: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step by the gradients that are there; what ``closure`` finds, if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step(group)
        return loss

    def _step(self, group: dict[str, Any]) -> None:
        moved = [
            _Moved(weights, weights.grad, self._moments(weights))
            for weights in group["params"]
            if weights.grad is not None
        ]
        beta1, beta2 = group["betas"]
        adam(
            [part.weights for part in moved],
            [part.gradient for part in moved],
            [part.first_moments for part in moved],
            [part.second_moments for part in moved],
            [],  # of amsgrad
            [part.n_steps for part in moved],
            fused=True,  # one pass over weights and moments: two thirds of the time of plain formulas
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        for part in moved:
            part.write_back()

    def _moments(self, weights: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[weights]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=weights.device)
            state["exp_avg"] = torch.zeros_like(weights)
            state["exp_avg_sq"] = torch.zeros_like(weights)
        return state


class _Moved:
    """What a step moves of one parameter: copies of some of its rows, or the parameter itself."""

    def __init__(self, weights: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> None:
        self.n_steps = state["step"]
        self._whole = [weights, state["exp_avg"], state["exp_avg_sq"]]
        self._rows: Tensor | None = None
        if gradient.is_sparse:
            # as they are: `coalesce` would sort rows that are distinct, and copy them
            self._rows, gradient = gradient._indices()[0], gradient._values()  # noqa: SLF001 - torch's own name
            self._parts = [whole.index_select(0, self._rows) for whole in self._whole]
        else:
            self._parts = self._whole
        self.gradient = gradient
        self.weights, self.first_moments, self.second_moments = self._parts

    def write_back(self) -> None:
        """Put the copies, which have been moved, where they came from."""
        if self._rows is not None:
            for whole, part in zip(self._whole, self._parts, strict=True):
                whole.index_copy_(0, self._rows, part)
