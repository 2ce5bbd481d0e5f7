"""The output layer and the multinomial loss in one step, by blocks of items.

Three products of batch x width x items are most of a multinomial model's training time, and the passes over float32
logits between them most of the rest. Here a block of logits is made, turned into probabilities and used while it lies
in the processor's cache, so that nothing of batch x items is ever held in float32.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK_ITEMS = 1024
"""Items in a block: at 500 rows, 2 MB of float32 logits beside 1.2 MB of bfloat16 weights."""


def multinomial_output_nll(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: Tensor,
    columns: Tensor,
    counts: Tensor,
    products: torch.dtype,
) -> Tensor:
    """Negative log-likelihood of the counts under the softmax of the logits ``hidden @ weight.T + bias``, mean over the rows.

    ``-1/B sum_u sum_i x_ui log softmax(logits_u)_i`` for the counts x, without making the logits whole.
    Only the gradients that somebody asks for are computed: with a ``weight`` that does not require one, two
    products in place of three and no memory of batch x items at all.

    Args:
        hidden: what the output layer is fed with, shape (n_rows, width).
        weight: of the output layer, shape (n_items, width).
        bias: of the output layer, shape (n_items,).
        rows: row of each interaction, shape (nnz,), int64.
        columns: its item, shape (nnz,), int64.
        counts: its count, not normalised, shape (nnz,).
        products: type of the factors of the three large products. With ``torch.bfloat16`` a logit and a
            probability have a relative error of up to 2^-8; sums, the logarithm and what the observed items add
            stay in the type of ``hidden``.

    Returns:
        Scalar tensor, in nats per row. Differentiable once.

    Source: the loss of Liang et al., WWW 2018, equation 2. Probabilities are kept relative to a running maximum
    and corrected when it rises, after Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018.
    """
    nll: Tensor = _MultinomialOutput.apply(hidden, weight, bias, _Observed(rows, columns, counts), products)  # type: ignore[no-untyped-call] # torch gives it no types
    return nll


@dataclass(frozen=True)
class _Observed:
    rows: Tensor  # (nnz,)
    columns: Tensor  # (nnz,)
    counts: Tensor  # (nnz,)

    def totals(self, n_rows: int) -> Tensor:
        """Sum of the counts of each row, shape (n_rows,)."""
        return self.counts.new_zeros(n_rows).index_add(0, self.rows, self.counts)

    def pull(self, weight: Tensor, n_rows: int) -> Tensor:
        """Sum of the weights of each row's items times their counts, shape (n_rows, width)."""
        order = torch.argsort(self.rows, stable=True)
        starts = torch.searchsorted(self.rows[order], torch.arange(n_rows, device=weight.device))
        return torch.nn.functional.embedding_bag(
            self.columns[order], weight, starts, mode="sum", per_sample_weights=self.counts[order]
        )


class _MultinomialOutput(torch.autograd.Function):
    """The forward pass also sums what ``hidden`` needs, for the weights of a block are at hand only then."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, observed: _Observed, products: torch.dtype
    ) -> Tensor:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        n_rows, n_items = hidden.shape[0], weight.shape[0]
        keeps = needs_weight or needs_bias
        blocks = [slice(start, min(start + BLOCK_ITEMS, n_items)) for start in range(0, n_items, BLOCK_ITEMS)]
        factor = hidden.to(products)
        # Probabilities up to a factor per row and block, (n_blocks, n_rows, items of a block).
        kept = factor.new_empty(len(blocks) if keeps else 1, n_rows, min(BLOCK_ITEMS, n_items))
        logits = hidden.new_empty(n_rows, kept.shape[2])
        maxima = hidden.new_full((len(blocks) + 1, n_rows), -torch.inf)
        total, pushed = hidden.new_zeros(n_rows), torch.zeros_like(hidden)
        for number, items in enumerate(blocks):
            block_weight = weight[items].to(products)
            shares = kept[number if keeps else 0, :, : block_weight.shape[0]]
            block = logits[:, : block_weight.shape[0]]
            torch.mm(factor, block_weight.T, out=shares)
            torch.add(shares, bias[items], out=block)  # the bias is added in float32
            maximum = torch.maximum(maxima[number], block.amax(dim=1))
            correction = torch.exp(maxima[number] - maximum)
            maxima[number + 1] = maximum
            block.sub_(maximum[:, None]).exp_()
            total.mul_(correction).add_(block.sum(dim=1))
            shares.copy_(block)
            if needs_hidden:
                pushed.mul_(correction[:, None]).add_(shares @ block_weight)
        counts = observed.totals(n_rows)
        pull = observed.pull(weight, n_rows)
        explained = torch.vdot(hidden.flatten(), pull.flatten()) + torch.dot(
            bias[observed.columns], observed.counts
        )
        possible = torch.dot(counts, total.log() + maxima[-1])

        scale = counts / (total * n_rows)  # of a row's shares, once they are relative to the last maximum
        gradient = (pushed * scale[:, None]).sub_(pull, alpha=1 / n_rows) if needs_hidden else None
        if keeps:
            ctx.scale = torch.exp(maxima[1:] - maxima[-1]) * scale  # (n_blocks, n_rows)
            ctx.kept, ctx.factor, ctx.blocks, ctx.observed = kept, factor, blocks, observed
        ctx.gradient = gradient
        return (possible - explained) / n_rows

    @staticmethod
    def backward(ctx: Any, *outward: Tensor) -> tuple[Tensor | None, ...]:
        (outer,) = outward
        of_hidden = None if ctx.gradient is None else ctx.gradient * outer
        _, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        if not (needs_weight or needs_bias):
            return of_hidden, None, None, None, None
        kept, factor, observed = ctx.kept, ctx.factor, ctx.observed
        n_items, n_rows = ctx.blocks[-1].stop, factor.shape[0]
        kept.mul_((ctx.scale * outer).to(kept.dtype)[:, :, None])  # gradients of the logits, from here on
        block, column = observed.columns // BLOCK_ITEMS, observed.columns % BLOCK_ITEMS
        kept.index_put_(
            (block, observed.rows, column),
            (observed.counts * (-outer / n_rows)).to(kept.dtype),
            accumulate=True,
        )
        of_weight = outer.new_empty(n_items, factor.shape[1]) if needs_weight else None
        of_bias = outer.new_empty(n_items) if needs_bias else None
        for number, items in enumerate(ctx.blocks):
            of_logits = kept[number, :, : items.stop - items.start]
            if of_weight is not None:
                of_weight[items] = of_logits.T @ factor
            if of_bias is not None:
                of_bias[items] = of_logits.sum(dim=0, dtype=outer.dtype)
        ctx.kept = None  # the values are used up
        return of_hidden, of_weight, of_bias, None, None
