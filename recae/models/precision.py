"""Which number type large matrix products are done in: what the processor multiplies fastest, if that trains as well."""

from typing import Literal

import torch

from recae.machine import has_fast_bfloat16

Precision = Literal["auto", "float32", "bfloat16"]


def product_type(precision: Precision, device: torch.device) -> torch.dtype:
    """Type of the factors of large products in training, on ``device``.

    Weights, moments, sums and scores are float32 always; this is about the factors only. ``auto`` takes bfloat16
    where the device has instructions for it: measured on two cores with avx512_bf16, such products run at 300 to
    400 GFLOP/s where float32 reaches 80 to 200. Without them torch would emulate it, slower than float32.
    """
    if precision == "auto":
        return torch.bfloat16 if _is_fast(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _is_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and has_fast_bfloat16()
