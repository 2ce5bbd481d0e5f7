"""Where models are computed: what the setting ``device`` may say, and which torch device that is on this host."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Final

import torch
from pydantic import AfterValidator
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recae.errors import ConfigError, MemoryBudgetError

CPU: Final = torch.device("cpu")
EXPECTED: Final = "'auto', 'cpu', 'cuda' or 'cuda:NUMBER'"


def known_name(name: str) -> str:
    """The name as it is, of a device that some host may have.

    Raises:
        ConfigError: if no host has a device of this name.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name, flags=re.ASCII):
        raise ConfigError(
            f"found the device {name!r}, expected {EXPECTED}; 'auto' takes a GPU where there is one"
        )
    return name


Device = Annotated[str, AfterValidator(known_name)]
"""A setting that names a device. Whether this host has it is asked by ``fit``: settings are also read elsewhere, as those of
a stored model are where it serves."""


def device_of(name: str) -> torch.device:
    """The device to fit on.

    Args:
        name: as a setting has it; ``auto`` is the first GPU where torch finds one, else the CPU.

    Raises:
        ConfigError: if no host has a device of this name, or this one has not.
    """
    if known_name(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not is_present(name):
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        gpus = f"cuda:0 to cuda:{found - 1}" if found > 1 else "cuda:0" if found else "no CUDA device"
        raise ConfigError(
            f"the device {name!r} is not on this host, where torch {torch.__version__} finds {gpus}; expected one that is: "
            "set device to 'auto' or 'cpu', or see to the driver and to torch's build (`recae doctor` shows both)"
        )
    return torch.device(name)


def device_with_room(name: str, n_bytes: float) -> torch.device:
    """The device to do a piece of work on whose memory is known beforehand.

    Args:
        name: as a setting has it; ``auto`` is the CPU where the GPU has too little memory left.
        n_bytes: what the work takes on a GPU. What it takes on a CPU is not looked at here.

    Raises:
        ConfigError: as :func:`device_of`.
        MemoryBudgetError: if a GPU is asked for by name that has less memory left.
    """
    device = device_of(name)
    if device.type == "cpu":
        return device
    free = free_memory(device)
    if n_bytes <= free:
        return device
    if name == "auto":
        return CPU
    raise MemoryBudgetError(
        f"this fit needs {n_bytes / 2**30:,.1f} GiB on {name}, which has {free / 2**30:,.1f} left; "
        "set device to 'auto' or 'cpu', or keep fewer items or users"
    )


def free_memory(gpu: torch.device) -> int:
    """Bytes of a GPU that this process may take."""
    torch.cuda.empty_cache()  # what torch keeps for itself counts as taken
    free, _ = torch.cuda.mem_get_info(gpu)
    return int(free)


def serving_device(name: str) -> torch.device:
    """The device on which a stored model serves: the one it was fitted on, or what ``auto`` takes where that is absent."""
    return torch.device(name) if name != "auto" and is_present(name) else device_of("auto")


def is_present(name: str) -> bool:
    """Whether this host has the device of this name, which is not ``auto``."""
    device = torch.device(name)
    if device.type == "cpu":
        return True
    return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()


@contextmanager
def outlines() -> Iterator[None]:
    """Networks built in the block have shapes, and neither memory nor values."""
    with torch.device("meta"), _NothingFilled():
        yield


class _NothingFilled(TorchFunctionMode):
    """Leaves out how layers fill their weights.

    For tensors without memory torch would import its compiler to do it, and sympy: ten seconds and 70 MB.
    """

    FILLS: ClassVar = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.zero_, Tensor.fill_})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, or give back the tensor that it would fill."""
        del types
        named = kwargs or {}
        if func in self.FILLS or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else named["tensor"]
        return func(*args, **named)
