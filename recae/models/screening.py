"""The best of many items by a large output layer: found with weights of 8 bits, scored with the weights themselves.

For a few histories, a product with 100 MB of weights takes as long as reading them does. In 8 bits it is a quarter of that,
and processors multiply them four times as fast. What was rounded is known, so it is known how far each score can be off: an
item that cannot be among the best n, however the errors fall, is out, and what is left is scored in single precision. So
the answer is that of all scores in single precision, which come out the same but for the order of their sums.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from recae.models.ranking import NEVER, Flags, Positions, Scores, best_of, nth_highest, reaching

LEVELS: Final = 127
"""Largest whole number that a weight becomes."""

ROUNDING: Final = 1e-4
"""Share of ``|hidden| |weights|``, and of the bias, that single precision may be off, many times over."""

WORTH_SCREENING: Final = 4_096
"""Below so many items the exact product is as fast."""


def can_screen(n_items: int, device: torch.device) -> bool:
    """Whether there is something to gain, and this build of torch multiplies 8-bit weights."""
    return (
        n_items >= WORTH_SCREENING
        and device.type == "cpu"
        and torch.backends.quantized.engine in {"x86", "fbgemm", "onednn"}
        and hasattr(torch, "quantize_per_channel")  # PyTorch means to remove it
    )


class Screen:
    """The output layer in 8 bits, and what is lost by that.

    With what is read for the hidden units, ``h' = h - e``, and for the weights of an item, ``w' = w - f``, its score is off
    by ``|wh - w'h'| = |we + fh'| <= |w| |e| + |f| |h'|``.

    Args:
        weight: shape (n_items, d), on the CPU.
        bias: shape (n_items,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        steps = weight.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny).double() / LEVELS
        no_shift = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the removal
            rounded = torch.quantize_per_channel(weight, steps, no_shift, 0, torch.qint8)
        self._packed: Any = torch.ops.quantized.linear_prepack(rounded, bias)
        norms = weight.norm(dim=1)
        self._norms: Scores = norms.numpy()
        self._errors: Scores = ((weight - rounded.dequantize()).norm(dim=1) + ROUNDING * norms).numpy()
        self._biases: Scores = (ROUNDING * bias.abs()).numpy()
        self._largest = float(self._norms.max()), float(self._errors.max()), float(self._biases.max())
        self._weight, self._bias = weight.numpy(), bias.numpy()

    def best(
        self, hidden: Tensor, ns: Sequence[int], allowed: Sequence[Flags]
    ) -> list[tuple[Positions, Scores]]:
        """The best of each row, as :func:`~recae.models.ranking.best_of` gives them of all exact scores.

        Args:
            hidden, ns, allowed: as of :meth:`candidates`.
        """
        found = []
        for row, n, columns in zip(hidden.numpy(), ns, self.candidates(hidden, ns, allowed), strict=True):
            scores = self._weight[columns] @ row + self._bias[columns]
            places, best = best_of(scores, n)
            found.append((columns[places], best))
        return found

    def candidates(self, hidden: Tensor, ns: Sequence[int], allowed: Sequence[Flags]) -> Iterator[Positions]:
        """For each row the columns of all items that can be among its best, ascending.

        Args:
            hidden: shape (n_rows, d).
            ns: how many of the best of each row: at least 1, and at most as many as are allowed.
            allowed: items of each row, shape (n_items,).
        """
        read = torch.quantize_per_tensor_dynamic(hidden, torch.quint8, True).dequantize()
        estimates = torch.ops.quantized.linear_dynamic(hidden, self._packed, True).numpy()
        off, lengths = (hidden - read).norm(dim=1).tolist(), read.norm(dim=1).tolist()
        for row, (n, mask) in enumerate(zip(ns, allowed, strict=True)):
            np.copyto(estimates[row], NEVER, where=~mask)
            yield self._of_row(estimates[row], off[row], lengths[row], n)

    def _of_row(self, estimates: Scores, off: float, length: float, n: int) -> Positions:
        widest = off * self._largest[0] + length * self._largest[1] + self._largest[2]
        some = reaching(estimates, n, 2.0 * widest)
        found = estimates[some]
        margins = (
            np.float32(off) * self._norms[some] + np.float32(length) * self._errors[some] + self._biases[some]
        )
        return some[found + margins >= nth_highest(found - margins, n)].astype(np.int32)
