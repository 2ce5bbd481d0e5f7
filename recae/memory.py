"""How this process asks for memory, and how much it may have."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# From glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_MMAP_MAX = -4

_NEVER = 2**31 - 1
_MMAP_MAX_DEFAULT = 65_536
_HIGHEST_MMAP_THRESHOLD = 32 * 2**20  # where glibc's own adjustment ends
_HIGHEST_TRIM_THRESHOLD = 64 * 2**20


@contextmanager
def reused_memory() -> Iterator[None]:
    """Inside, large arrays that were freed are used again, in place of new memory from the system each time.

    glibc gives every array above 32 MB back as soon as it is freed, and the next of that size is new: its pages are
    cleared and mapped one by one at first touch. In a virtual machine that was 90 ms for 82 MB, six times what
    filling it took, and a training step makes several such. In exchange the process keeps its high-water mark until
    the end of the block, where all that is free goes back. Nested or concurrent blocks are harmless: the first that
    ends ends it for all. Without glibc it does nothing.
    """
    libc = ctypes.CDLL(None) if hasattr(ctypes, "pythonapi") and not hasattr(ctypes, "windll") else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        # Setting any of them ends glibc's own adjustment, so they are left where it would have led.
        libc.mallopt(_MMAP_MAX, _MMAP_MAX_DEFAULT)
        libc.mallopt(_MMAP_THRESHOLD, _HIGHEST_MMAP_THRESHOLD)
        libc.mallopt(_TRIM_THRESHOLD, _HIGHEST_TRIM_THRESHOLD)
        libc.malloc_trim(0)
