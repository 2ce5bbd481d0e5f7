"""The output layer and a loss that looks at each item by itself in one step, by blocks of items.

What a pointwise loss says of an output does not depend on the others, so a block of outputs is made, judged, and turned into
its share of every gradient while it lies in the processor's cache: three products of batch x width x items and a few passes
between them, and nothing of batch x items is ever held.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

BLOCK_OUTPUTS = 2**19
"""Outputs in a block: 2 MB in float32."""
FEWEST_ITEMS = 64
"""Of a block, however many rows there are: products of narrower ones are slow."""


class Pointwise(Protocol):
    """A loss of outputs, each by itself. Values are sums over the outputs; slopes have the outputs' shape."""

    def absent(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Value and slopes where nothing was chosen; may overwrite the outputs."""

    def present(self, outputs: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Value and slopes where something was, with these values (of the outputs' shape)."""


@dataclass(frozen=True)
class Squared:
    """``(o - x)^2`` where x is present, ``w o^2`` where nothing is: an absent item counts as a 0 of less weight.

    Source: the weighting of Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, with
    one weight for all that is observed.
    """

    unobserved_weight: float = 1.0
    """w, above 0 and up to 1."""

    def absent(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """As the protocol has it."""
        value = self.unobserved_weight * outputs.square().sum()
        return value, outputs.mul_(2.0 * self.unobserved_weight)

    def present(self, outputs: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """As the protocol has it."""
        errors = outputs - values
        return errors.square().sum(), 2.0 * errors


@dataclass(frozen=True)
class Logistic:
    """``-log s(o)`` where something is present, whatever its value, ``-w log(1 - s(o))`` where nothing is; s the logistic function.

    Source: the logistic loss of Wu et al., "Collaborative denoising auto-encoders", WSDM 2016, over all items in place of
    sampled ones.
    """

    unobserved_weight: float = 1.0
    """w, above 0 and up to 1."""

    def absent(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """As the protocol has it."""
        value = self.unobserved_weight * softplus(outputs).sum()
        return value, outputs.sigmoid_().mul_(self.unobserved_weight)

    def present(self, outputs: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """As the protocol has it."""
        del values
        return softplus(-outputs).sum(), torch.sigmoid(outputs) - 1.0


@dataclass(frozen=True)
class ConfidentLogistic:
    """``-c log s(o)`` where there is a confidence c, beside ``-log(1 - s(o))`` for every item, present or not.

    Source: Johnson, "Logistic matrix factorization for implicit feedback data", NIPS workshop 2014, equation 3.
    """

    def absent(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """As the protocol has it."""
        return softplus(outputs).sum(), outputs.sigmoid_()

    def present(self, outputs: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """As the protocol has it."""
        value = (values * softplus(-outputs)).sum() + softplus(outputs).sum()
        chances = torch.sigmoid(outputs)
        return value, chances - values * (1.0 - chances)


def pointwise_output_loss(
    loss: Pointwise,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: Tensor,
    columns: Tensor,
    values: Tensor,
    products: torch.dtype,
    row_bias: Tensor | None = None,
) -> Tensor:
    """Loss of the outputs ``hidden @ weight.T + bias (+ row_bias)`` of all items, mean over the rows, without making them whole.

    Args:
        loss: of each output.
        hidden: what the output layer is fed with, shape (n_rows, width).
        weight: of the output layer, shape (n_items, width).
        bias: of the output layer, shape (n_items,).
        rows: row of each interaction, shape (nnz,), int64.
        columns: its item, shape (nnz,), int64; each (row, column) at most once.
        values: what the loss takes there, shape (nnz,).
        products: type of the factors of the three large products. With ``torch.bfloat16`` an output and its slope have a
            relative error of up to 2^-8; sums stay in the type of ``hidden``.
        row_bias: added to all outputs of a row, shape (n_rows,); None for none.

    Returns:
        Scalar tensor, in the loss's unit per row. Differentiable once.
    """
    if row_bias is None:
        row_bias = hidden.new_zeros(len(hidden))
    order = torch.argsort(columns, stable=True)
    present = _Present(rows[order], columns[order], values[order])
    found: Tensor = _PointwiseOutput.apply(hidden, weight, bias, row_bias, loss, present, products)  # type: ignore[no-untyped-call] # torch gives it no types
    return found


@dataclass(frozen=True)
class _Present:
    """Interactions, by rising columns."""

    rows: Tensor  # (nnz,)
    columns: Tensor  # (nnz,)
    values: Tensor  # (nnz,)

    def bounds(self, starts: list[int]) -> list[int]:
        """Where the interactions of blocks begin that begin at these columns, the first at 0, and where the last ends."""
        if len(starts) == 1:
            return [0, len(self.columns)]  # a GPU need not be waited for
        wanted = torch.tensor(starts, device=self.columns.device)
        return [*torch.searchsorted(self.columns, wanted).tolist(), len(self.columns)]


class _PointwiseOutput(torch.autograd.Function):
    """The forward pass makes the gradients, too: what they need of a block is at hand only then."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        row_bias: Tensor,
        loss: Pointwise,
        present: _Present,
        products: torch.dtype,
    ) -> Tensor:
        n_rows, n_items = hidden.shape[0], weight.shape[0]
        step = max(FEWEST_ITEMS, BLOCK_OUTPUTS // n_rows)
        starts = list(range(0, n_items, step))
        bounds = present.bounds(starts)
        factor, scaled = hidden.to(products), (hidden / n_rows).to(products)
        total = hidden.new_zeros((), dtype=torch.float64)
        of_hidden, of_row_bias = torch.zeros_like(hidden), torch.zeros_like(row_bias)
        of_weight, of_bias = torch.empty_like(weight), torch.empty_like(bias)
        for number, start in enumerate(starts):
            items = slice(start, min(start + step, n_items))
            inside = slice(bounds[number], bounds[number + 1])
            block_weight = weight[items].to(products)
            # biases are added in their own type
            outputs = torch.add(torch.mm(factor, block_weight.T), bias[items]).add_(row_bias[:, None])
            places = present.rows[inside], present.columns[inside] - start
            at_present = outputs[places]
            value, slopes = loss.present(at_present, present.values[inside])
            total += value - loss.absent(at_present)[0]
            value, of_outputs = loss.absent(outputs)
            total += value
            of_outputs[places] = slopes
            of_bias[items] = of_outputs.sum(dim=0)
            of_row_bias += of_outputs.sum(dim=1)
            factors = of_outputs.to(products)
            of_hidden += factors @ block_weight
            of_weight[items] = factors.T @ scaled
        ctx.gradients = of_hidden.div_(n_rows), of_weight, of_bias.div_(n_rows), of_row_bias.div_(n_rows)
        return (total / n_rows).to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *outward: Tensor) -> tuple[Tensor | None, ...]:
        (outer,) = outward
        gradients, ctx.gradients = ctx.gradients, None
        # nearly always 1, and the weights' gradient is large; to look at it, a GPU would be waited for
        if outer.device.type != "cpu" or outer != 1:
            for gradient in gradients:
                gradient.mul_(outer)
        return *gradients, None, None, None
