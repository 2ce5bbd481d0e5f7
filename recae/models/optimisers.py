"""torch's optimisers, without what they import for `torch.compile`.

Their methods are wrapped so that a compiler leaves them out, and the wrappers import `torch._dynamo` at the first call: a
third of the time until a small model is trained. Nothing here is compiled, so the bare methods do the same.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import optim


def _bare(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method inside all wrappers; itself in a torch that wraps none."""
    unwrapped: Callable[..., Any] = inspect.unwrap(method)
    return unwrapped


class _Bare(optim.Optimizer):
    """The methods that all optimisers share."""

    add_param_group = _bare(optim.Optimizer.add_param_group)
    load_state_dict = _bare(optim.Optimizer.load_state_dict)
    state_dict = _bare(optim.Optimizer.state_dict)
    zero_grad = _bare(optim.Optimizer.zero_grad)


class Adam(_Bare, optim.Adam):
    """As torch's."""

    step = torch.no_grad()(_bare(optim.Adam.step))


class NAdam(_Bare, optim.NAdam):
    """As torch's."""

    step = torch.no_grad()(_bare(optim.NAdam.step))


class LBFGS(_Bare, optim.LBFGS):
    """As torch's."""

    step = torch.no_grad()(_bare(optim.LBFGS.step))
