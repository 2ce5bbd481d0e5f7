"""The best of many items by a large output layer: found with weights of 8 bits, scored with the weights themselves.

For a few histories, a product with 100 MB of weights takes as long as reading them does. In 8 bits it is a quarter of that,
and processors multiply them four times as fast. What was rounded is known, so it is known how far each score can be off: an
item that cannot be among the best n, however the errors fall, is out, and what is left is scored in single precision. So
the answer is that of all scores in single precision, which come out the same but for the order of their sums.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recae.models.ranking import NEVER, Flags, Positions, Scores, best_reached, blocks_of_rows, reaching

LEVELS: Final = 127
"""Largest whole number that a weight becomes."""

ROUNDING: Final = 1e-4
"""Share of ``|hidden| |weights|``, and of the bias, that single precision may be off, many times over."""

WORTH_SCREENING: Final = 4_096
"""Below so many items the exact product is as fast."""

EXACT_AT_ONCE: Final = 4_096
"""Candidates whose weights are gathered at a time: 10 MB at 600 hidden units."""


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
        self._largest = self._norms.max(), self._errors.max(), self._biases.max()
        self._weight, self._bias = weight.numpy(), bias.numpy()

    def best(
        self, hidden: Tensor, ns: Sequence[int], allowed: Sequence[Flags]
    ) -> list[tuple[Positions, Scores]]:
        """The best of each row, as :func:`~recae.models.ranking.best_of` gives them of all exact scores.

        Args:
            hidden, ns, allowed: as of :meth:`candidates`.
        """
        rows, columns = self.candidates(hidden, ns, allowed)
        scores, inputs = np.empty(len(rows), dtype=np.float32), hidden.numpy()
        for start in range(0, len(rows), EXACT_AT_ONCE):
            few = slice(start, start + EXACT_AT_ONCE)
            np.einsum("ij,ij->i", self._weight[columns[few]], inputs[rows[few]], out=scores[few])
        scores += self._bias[columns]
        return best_reached(rows, columns, scores, np.asarray(ns))

    def candidates(
        self, hidden: Tensor, ns: Sequence[int], allowed: Sequence[Flags]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """All items that can be among the best of a row: rows and columns, each (n_found,), rows ascending.

        Args:
            hidden: shape (n_rows, d).
            ns: how many of the best of each row: at least 1, and at most as many as are allowed.
            allowed: items of each row, shape (n_items,).
        """
        read = torch.quantize_per_tensor_dynamic(hidden, torch.quint8, True).dequantize()
        estimates = torch.ops.quantized.linear_dynamic(hidden, self._packed, True).numpy()
        off, lengths = (hidden - read).norm(dim=1).numpy(), read.norm(dim=1).numpy()
        found = []
        for block in blocks_of_rows(*estimates.shape):
            for row, mask in zip(estimates[block], allowed[block], strict=True):
                np.copyto(row, NEVER, where=~mask)
            rows, columns = self._among(estimates[block], off[block], lengths[block], np.asarray(ns[block]))
            found.append((rows + block.start, columns))
        rows, columns = map(np.concatenate, zip(*found, strict=True))
        return rows, columns

    def _among(
        self, estimates: Scores, off: Scores, lengths: Scores, ns: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Candidates of a few rows, among estimates that are ``NEVER`` for what is not allowed."""
        widest: Scores = off * self._largest[0] + lengths * self._largest[1] + self._largest[2]
        rows, columns = reaching(estimates, ns, widest + widest)
        found = estimates[rows, columns]
        margins = (
            off[rows] * self._norms[columns] + lengths[rows] * self._errors[columns] + self._biases[columns]
        )
        lowest = found - margins
        order = np.lexsort((lowest, rows))
        ends = np.searchsorted(rows[order], np.arange(len(ns)), side="right")
        certain = lowest[order[ends - ns]]  # at least n are no lower
        kept = order[(found + margins >= certain[rows])[order]]
        return rows[kept], columns[kept]
