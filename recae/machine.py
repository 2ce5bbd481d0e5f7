"""What this machine has: processor, memory, libraries, GPU. Read from the system, nothing is measured."""

import hashlib
import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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


def peak_memory() -> int | None:
    """The most memory in bytes that this process ever held; None where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
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
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next(
        (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None
    )


def _memory_info() -> dict[str, int]:
    try:
        lines = MEMORY_INFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    fields = [line.replace(":", "").split() for line in lines]
    return {field[0]: 1024 * int(field[1]) for field in fields if field[-1] == "kB"}


def _physical_memory() -> int | None:
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if any(name not in getattr(os, "sysconf_names", {}) for name in names):
        return None
    pages, size = (os.sysconf(name) for name in names)
    return pages * size


def _cgroup_limit() -> int | None:
    """The lowest limit of this process's control group and those above it, by either version of the interface."""
    try:
        entries = [line.split(":", 2) for line in OWN_CGROUP.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    limits = []
    for _, controllers, path in entries:
        if controllers not in ("", "memory"):
            continue
        root = CGROUPS / controllers
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        folder = root / path.lstrip("/")
        for level in (folder, *folder.parents):
            limits += _limit_in(level / file)
            if level == root:
                break
    return min(limits, default=None)


def _limit_in(file: Path) -> list[int]:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return []
    # "max" is no limit, and so is what version 1 writes in its place: the largest whole number of pages.
    return [int(text)] if text.isdigit() and int(text) < 2**60 else []
