"""Ctrl-C: the first asks a batch to end when what is in hand is done, the second to drop it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stop:
    """While it is entered, signals are only counted. SIGTERM, which service managers send with
    a deadline, insists at once."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """End soon."""
        return self._count > 0

    @property
    def insisted(self) -> bool:
        """End now."""
        return self._count > 1

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._count_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _count_signal(self, number: int, frame: FrameType | None) -> None:
        self._count += 2 if number == signal.SIGTERM else 1
