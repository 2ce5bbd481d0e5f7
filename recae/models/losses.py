"""What training minimises: pure functions from tensors to a scalar tensor."""

import torch
from torch import Tensor


def masked_mse(predicted: Tensor, target: Tensor, observed: Tensor) -> Tensor:
    """Mean squared error over the ratings that exist.

    A missing rating is not a zero: entries where ``observed`` is False add nothing to the loss and get no
    gradient. The mean is over observed entries of the whole batch.

    Args:
        predicted: shape (n_users, n_items), in rating units.
        target: same shape and units; ignored where ``observed`` is False, NaN included.
        observed: same shape, bool.

    Returns:
        Scalar tensor, in squared rating units.

    Raises:
        ValueError: if the shapes differ, or nothing in the batch is observed.

    Source: the observed-entries objective of Sedhain et al., "AutoRec", WWW 2015, as a mean.
    """
    if not predicted.shape == target.shape == observed.shape:
        raise ValueError(
            "predicted, target and observed need one shape, got "
            f"{tuple(predicted.shape)}, {tuple(target.shape)} and {tuple(observed.shape)}"
        )
    if not observed.any():
        raise ValueError(
            "nothing in the batch is observed, so its mean error is undefined; leave such batches out"
        )
    return (predicted[observed] - target[observed]).square().mean()


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


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a diagonal Gaussian from the standard normal, mean over the rows.

    ``1/2 sum_d (mean^2 + var - 1 - log var)``, at least 0.

    Args:
        mean: shape (n_rows, n_latent).
        log_variance: same shape.

    Returns:
        Scalar tensor, in nats per row.

    Source: Kingma & Welling, "Auto-encoding variational Bayes", ICLR 2014, appendix B.
    """
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=1)
    return divergence.mean()
