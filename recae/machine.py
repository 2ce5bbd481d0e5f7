"""What this machine has: processor, memory, libraries, GPU. Read from the system, nothing is measured."""

import hashlib
import os
import platform
import resource
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from recae.threads import available_cores

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Instructions that decide how fast products are, as /proc/cpuinfo names them."""
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
"""Those of them that multiply bfloat16."""
LIBRARIES = ("recae", "torch", "numpy", "scipy", "implicit", "pandas", "pyarrow")

CPU_INFO = Path("/proc/cpuinfo")
MEMORY_INFO = Path("/proc/meminfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 by instructions of its own, and torch uses them."""
    import torch

    uses_them: bool = torch.backends.mkldnn.is_available()
    return uses_them and not BFLOAT16.isdisjoint(processor_flags())


@cache
def processor_flags() -> frozenset[str]:
    """Names of the processor's features; empty where the system does not tell, as outside Linux."""
    return frozenset((_cpu_info("flags") or _cpu_info("Features") or "").split())


def processor() -> dict[str, Any]:
    """Name, cores this process may use, and which of ``FEATURES`` there are."""
    flags = processor_flags()
    return {
        "name": _cpu_info("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": available_cores(),
        "features": [feature for feature in FEATURES if feature in flags],
    }


def memory() -> dict[str, int | None]:
    """Bytes: ``total`` and ``available`` of the machine, ``limit`` of this process's control group.

    None is what the system does not tell, or a limit that is not set.
    """
    sizes = _memory_info()
    return {
        "total": sizes.get("MemTotal") or _physical_memory(),
        "available": sizes.get("MemAvailable"),
        "limit": _cgroup_limit(),
    }


class MemoryBudget(NamedTuple):
    """What this process can still take before something is swapped out or killed."""

    size: int
    """In bytes."""
    bound_by: str
    """What sets it, in words."""


def memory_budget() -> MemoryBudget | None:
    """The least of what the machine has available and what this process's control groups leave; None if nothing is known.

    A container's limit, that of a systemd unit and that of a batch job are limits of control groups, of its own or of one
    above it. What its other processes hold is taken; file cache that can be dropped is not.
    """
    sizes = _memory_info()
    available = sizes.get("MemAvailable", sizes.get("MemTotal")) or _physical_memory()
    found = [] if available is None else [MemoryBudget(available, "this machine's memory")]
    found += [
        MemoryBudget(max(0, group.limit - group.taken), "the limit of its control group")
        for group in _limited_groups()
    ]
    return min(found, default=None)


def peak_memory() -> int:
    """The most memory in bytes that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 2**10


@cache
def code_sha256() -> str:
    """Of recae's own source files, names included: two results with the same one were made by the same code."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def pools() -> list[dict[str, Any]]:
    """The thread pools of this process: each library, its version and how many threads it takes."""
    import numpy as np  # noqa: F401 - loads its BLAS
    import scipy.linalg  # noqa: F401 - loads another
    import threadpoolctl
    import torch  # noqa: F401 - brings its own OpenMP

    return [
        {
            "library": pool["internal_api"],
            "kind": pool["user_api"],
            "version": pool.get("version"),
            "threads": pool["num_threads"],
            "architecture": pool.get("architecture"),
            "file": Path(pool["filepath"]).name,
        }
        for pool in threadpoolctl.threadpool_info()
    ]


def gpus() -> list[dict[str, Any]]:
    """CUDA devices that torch can use: name and memory in bytes."""
    import torch

    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "memory": gpu.total_memory} for gpu in found]


def versions() -> dict[str, str | None]:
    """Python's version and those of ``LIBRARIES``; None for one that is not installed."""
    return {"python": platform.python_version()} | {library: _version(library) for library in LIBRARIES}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _cpu_info(key: str) -> str | None:
    """The first processor's value; they are alike."""
    lines = (line.partition(":") for line in _text_of(CPU_INFO).splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), None)


def _memory_info() -> dict[str, int]:
    return {name: 1024 * size for name, size in _fields_of(MEMORY_INFO, ":").items()}  # it is in kB


def _physical_memory() -> int | None:
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if any(name not in getattr(os, "sysconf_names", {}) for name in names):
        return None
    pages, size = (os.sysconf(name) for name in names)
    return pages * size


def _cgroup_limit() -> int | None:
    """The lowest limit of this process's control group and those above it."""
    return min((group.limit for group in _limited_groups()), default=None)


class _Interface(NamedTuple):
    """Files of a control group, as one version of the interface names them, and a line of its ``memory.stat``."""

    limit: str
    usage: str
    droppable: str


_FIRST = _Interface("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_SECOND = _Interface("memory.max", "memory.current", "inactive_file")


class _Group(NamedTuple):
    """A control group that has a limit; what is taken counts all its processes, those of groups in it too."""

    limit: int
    taken: int


def _limited_groups() -> list[_Group]:
    """This process's control group and those above it, as far as they have a limit, by either version of the interface."""
    entries = [line.split(":", 2) for line in _text_of(OWN_CGROUP).splitlines()]
    found = []
    for _, controllers, path in entries:
        if controllers and "memory" not in controllers.split(","):
            continue
        interface, root = (_FIRST if controllers else _SECOND), CGROUPS / controllers
        folder = root / path.lstrip("/")
        for level in (folder, *folder.parents):
            # "max" is no limit, and so is what version 1 writes in its place: the largest whole number of pages.
            limit = _number_in(level / interface.limit)
            if limit is not None and limit < 2**60:
                # files that were read once lie in the cache, and make room when it is wanted
                droppable = _fields_of(level / "memory.stat", " ").get(interface.droppable, 0)
                taken = _number_in(level / interface.usage) or 0
                found.append(_Group(limit, max(0, taken - droppable)))
            if level == root:
                break
    return found


def _number_in(file: Path) -> int | None:
    text = _text_of(file).strip()
    return int(text) if text.isdigit() else None


def _fields_of(file: Path, separator: str) -> dict[str, int]:
    """The first number of each line, by what stands before the separator."""
    lines = (line.partition(separator) for line in _text_of(file).splitlines())
    return {
        name: int(rest.split()[0])
        for name, _, rest in lines
        if rest.split()[:1] and rest.split()[0].isdigit()
    }


def _text_of(file: Path) -> str:
    """What a file of the system says; nothing if there is none, or it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
