"""Losses written as their papers have them, for what computes the same in other steps."""

from collections.abc import Sequence

import torch
from torch import Tensor

PRODUCTS = [
    (torch.float64, torch.float64, 1e-12),
    (torch.float32, torch.float32, 1e-5),
    (torch.float32, torch.bfloat16, 3e-2),
]
"""Types of what is given and of large products, and how far a loss and its gradients may then be off, as a share."""


def assert_same_loss(found: Tensor, wanted: Tensor, parts: Sequence[Tensor], tolerance: float) -> None:
    """The loss is the same, and so is its gradient by each part, against the largest of that."""
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=0.0)
    gradients = zip(torch.autograd.grad(found, parts), torch.autograd.grad(wanted, parts), strict=True)
    for part, (ours, autograds) in zip(parts, gradients, strict=True):
        assert ours.dtype == part.dtype
        torch.testing.assert_close(
            ours, autograds, rtol=tolerance, atol=tolerance * autograds.abs().max().item()
        )


def multinomial_nll(logits: Tensor, rows: Tensor, columns: Tensor, counts: Tensor) -> Tensor:
    """Negative log-likelihood of the counts under the softmax of the logits, mean over the rows.

    ``-1/B sum_u sum_i x_ui log softmax(logits_u)_i``, with the counts x as coordinates, so that the cost
    beyond the softmax itself grows with the number of interactions.

    Args:
        logits: shape (n_rows, n_items).
        rows: row of each interaction, shape (nnz,), int64.
        columns: its item, shape (nnz,), int64.
        counts: its count, not normalised, shape (nnz,).

    Returns:
        Scalar tensor, in nats per row.

    Source: Liang et al., "Variational autoencoders for collaborative filtering", WWW 2018, equation 2.
    """
    total = torch.zeros(logits.shape[0], dtype=logits.dtype, device=logits.device).index_add(0, rows, counts)
    explained = (logits[rows, columns] * counts).sum()
    possible = (torch.logsumexp(logits, dim=1) * total).sum()
    return (possible - explained) / logits.shape[0]


def squared_error(
    predicted: Tensor, rows: Tensor, columns: Tensor, values: Tensor, unobserved_weight: float = 1.0
) -> Tensor:
    """Squared error over all items, where what is absent counts as a 0 of less weight; mean over the rows.

    ``1/B sum_u (sum_{i in u} (p_ui - x_ui)^2 + w sum_{i not in u} p_ui^2)``, with the values x as coordinates,
    so that no dense target is formed.

    Args:
        predicted: shape (n_rows, n_items).
        rows: row of each value, shape (nnz,), int64.
        columns: its item, shape (nnz,), int64; each (row, column) at most once.
        values: what to predict there, shape (nnz,).
        unobserved_weight: w, above 0 and up to 1.

    Returns:
        Scalar tensor, in squared units of the values per row.

    Source: the weighting of Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets",
    ICDM 2008, with one weight for all that is observed.
    """
    at_values = predicted[rows, columns]
    absent = predicted.square().sum() - at_values.square().sum()
    return ((at_values - values).square().sum() + unobserved_weight * absent) / predicted.shape[0]


def logistic_nll(logits: Tensor, rows: Tensor, columns: Tensor, unobserved_weight: float = 1.0) -> Tensor:
    """Negative log-likelihood of chosen or not for every item, where absence has less weight; mean over the rows.

    ``-1/B sum_u (sum_{i in u} log s(l_ui) + w sum_{i not in u} log(1 - s(l_ui)))``, s the logistic function, with
    what was chosen as coordinates.

    Args:
        logits: shape (n_rows, n_items).
        rows: row of each choice, shape (nnz,), int64.
        columns: its item, shape (nnz,), int64; each (row, column) at most once.
        unobserved_weight: w, above 0 and up to 1.

    Returns:
        Scalar tensor, in nats per row.

    Source: the logistic loss of Wu et al., "Collaborative denoising auto-encoders", WSDM 2016, over all items in
    place of sampled ones.
    """
    softplus = torch.nn.functional.softplus
    chosen = logits[rows, columns]
    absent = softplus(logits).sum() - softplus(chosen).sum()
    return (softplus(-chosen).sum() + unobserved_weight * absent) / logits.shape[0]


def weighted_logistic_nll(logits: Tensor, rows: Tensor, columns: Tensor, confidences: Tensor) -> Tensor:
    """Negative log-likelihood of choices with confidences beside one absence of every item; mean over the rows.

    ``-1/B sum_u (sum_{i in u} c_ui log s(l_ui) + sum_i log(1 - s(l_ui)))``, s the logistic function, with what was
    chosen as coordinates.

    Args:
        logits: shape (n_rows, n_items).
        rows: row of each choice, shape (nnz,), int64.
        columns: its item, shape (nnz,), int64; each (row, column) at most once.
        confidences: c, at least 0, shape (nnz,).

    Returns:
        Scalar tensor, in nats per row.

    Source: Johnson, "Logistic matrix factorization for implicit feedback data", NIPS workshop 2014, equation 3.
    """
    softplus = torch.nn.functional.softplus
    chosen = softplus(-logits[rows, columns])
    return ((confidences * chosen).sum() + softplus(logits).sum()) / logits.shape[0]
