"""Losses written as their papers have them, for what computes the same in other steps."""

import torch
from torch import Tensor


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
