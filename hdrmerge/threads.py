"""How many threads one merge uses: up to four, or what a batch allots to each of its workers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 4  # bands in work at once: each needs its own memory, and memory itself is the limit then
_limit: list[int] = []


def threads() -> int:
    """Threads of a pool that works on bands or frames."""
    return _limit[-1] if _limit else max(1, min(_MOST, cores()))


def cores() -> int:
    """Cores that this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``work`` done on every item by ``threads()`` of them; numpy and OpenCV let each other run."""
    with ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(work, items))


def coder_threads() -> int:
    """Threads of a codec, which may take the whole machine where nothing limits it."""
    return _limit[-1] if _limit else cores()


def limit_threads(count: int) -> None:
    """Let merges in this process use ``count`` threads from now on, OpenCV's own included."""
    import cv2

    _limit[:] = [max(1, count)]
    cv2.setNumThreads(max(1, count))
