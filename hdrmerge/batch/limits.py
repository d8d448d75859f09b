"""How much a batch may use: cores, memory, and what a text such as 4G means."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdrmerge.errors import UsageError
from hdrmerge.threads import cores

PROGRAM = 185 << 20  # bytes of a worker between merges, measured; and with a network at work
PROGRAM_WITH_NETWORK = 1150 << 20
_SHARE = 0.8  # of the memory that is free, where nothing is said
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_GROUP_FILES = (  # what a container may take, and takes: version 2 and 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """``jobs`` brackets at once, each worker with ``threads``, together within ``memory`` bytes of
    which each worker takes ``program`` before it merges anything."""

    jobs: int
    threads: int
    memory: int
    program: int = PROGRAM


def choose_limits(
    jobs: int | None, memory: int | None, needs: Sequence[int], *, network: bool = False
) -> Limits:
    """Limits for brackets that need these bytes each.

    A job is a bracket on one core. ``jobs`` None: as many as cores and memory allow; where memory
    or the number of brackets allows fewer, each gets more cores. ``memory`` is for this process
    too; None: most of what is free now.
    """
    memory = int(free_memory() * _SHARE) if memory is None else max(0, memory - own_memory())
    program = PROGRAM_WITH_NETWORK if network else PROGRAM
    if jobs is not None:
        return Limits(jobs, 1, memory, program)
    typical = int(statistics.median(needs)) if needs else 0
    fitting = max(1, memory // (program + typical))
    jobs = max(1, min(cores(), fitting, len(needs)))
    return Limits(jobs, max(1, cores() // jobs), memory, program)


def free_memory() -> int:
    """Bytes that may be taken without pushing others out, also inside a container."""
    free = _physical() // 2
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text()
        free = int(text.partition("MemAvailable:")[2].split()[0]) << 10
    for most, used in _GROUP_FILES:
        with contextlib.suppress(OSError, ValueError):
            free = min(free, int(Path(most).read_text()) - int(Path(used).read_text()))
    return max(free, 1 << 30)


def own_memory() -> int:
    """Bytes that this process holds."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) << 10
    return PROGRAM


def parse_bytes(text: str, option: str) -> int:
    """Bytes of ``4G``, ``1500M``, ``2.5 GiB``; raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    count = float(match[1]) * 2 ** _UNITS[match[2].upper()] if match else 0.0
    if not 2**20 <= count < 2**60:
        raise UsageError(
            f"{option} does not understand {text!r}.", "Give an amount such as 4G or 1500M."
        )
    return int(count)


def _physical() -> int:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 8 << 30
