"""What training minimises: pure functions from tensors to a scalar tensor."""

import torch
from torch import Tensor


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


SHORTEST = 1e-6
"""A squared length below this share of the target's is rounding: it has no direction."""


def normalised_mse(inner: Tensor, predicted_squares: Tensor, target_squares: Tensor) -> Tensor:
    """Squared distance of predictions and targets that are both scaled to length 1, mean over the rows.

    ``|p/|p| - t/|t||^2 = 2 - 2 p.t / (|p| |t|)``: it takes inner products only, so that a model which has those in
    closed form never forms the rows. An empty target adds nothing.

    Args:
        inner: product of prediction and target of each row, shape (n_rows,).
        predicted_squares: squared length of each prediction, shape (n_rows,).
        target_squares: squared length of each target, shape (n_rows,).

    Returns:
        Scalar tensor between 0 and 4, without a unit.

    Source: Vancura et al., "Scalable linear shallow autoencoder for collaborative filtering", RecSys 2022.
    """
    known = target_squares > 0
    targets = target_squares[known]
    lengths = torch.maximum(predicted_squares[known], SHORTEST * targets) * targets
    return (2.0 - 2.0 * inner[known] * lengths.rsqrt()).sum() / inner.shape[0]


def l1_penalty(activations: Tensor, lengths: Tensor) -> Tensor:
    """Sum of absolute activations, each times the length of what its unit puts out, mean over the rows.

    Without the lengths, small activations and large output weights would say the same for less.

    Args:
        activations: shape (n_rows, n_hidden).
        lengths: norm of each unit's output weights, shape (n_hidden,).

    Returns:
        Scalar tensor.

    Source: the sparsity penalty of Ng, "Sparse autoencoder", CS294A lecture notes, 2011, in its L1 form; ours
    adds the lengths.
    """
    return (activations.abs() * lengths).sum(dim=1).mean()


def activity_kl(activations: Tensor, target: float) -> Tensor:
    """Kullback-Leibler divergence of each unit's mean activity from a target, summed over the units.

    ``sum_j r log(r / a_j) + (1 - r) log((1 - r) / (1 - a_j))`` with a_j the mean of unit j over the rows.

    Args:
        activations: within [0, 1], shape (n_rows, n_hidden).
        target: r, between 0 and 1, both excluded.

    Returns:
        Scalar tensor, in nats, at least 0.

    Source: Ng, "Sparse autoencoder", CS294A lecture notes, 2011, section 3.
    """
    mean = activations.mean(dim=0).clamp(
        1e-6, 1 - 1e-6
    )  # a unit that is always off would cost infinitely much
    divergence = target * torch.log(target / mean) + (1 - target) * torch.log((1 - target) / (1 - mean))
    return divergence.sum()
