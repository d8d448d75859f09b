"""How this process keeps memory: freed blocks stay, since asking for them again is slow."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's names for them, malloc.h
_BLOCK = 32 << 20  # bytes up to which a freed block stays, the most; whole pictures are larger
_KEPT = 64 << 20  # bytes that may stay at a heap's end


def keep_freed_blocks() -> None:
    """Have the C library keep freed blocks of bands and proxies instead of returning each at once.

    Work in tiles takes and frees megabytes thousands of times. By default each is returned to the
    system and comes back as empty pages, which cost a third of the processor time of a merge.
    Threads share what is kept: heaps of their own would be given back as soon as they are empty.
    For programs, not libraries: it holds for the whole process. Only glibc has such a switch.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _BLOCK)
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_ARENA_MAX, 1)
