"""How a batch goes, for people: a bar with the time to go on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hdrmerge.cli.console import Console

if TYPE_CHECKING:
    from hdrmerge.batch.report import Entry, Summary


class BatchProgress:
    """A ``Watcher`` of a run. Time to go is what the pixels merged so far took; those in work
    count half."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Any = None
        self._start = self._last = time.monotonic()
        self._left = self._done = self._pixels = self._merged = self._failed = 0

    def __enter__(self) -> BatchProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, summary: Summary, left: int, pixels: int) -> None:
        self._left, self._pixels, self._start = left, pixels, time.monotonic()
        unchanged = summary.count()["unchanged"]
        if unchanged:
            self._console.say(f"{unchanged} of {len(summary.entries)} brackets are merged already.")
        if left and not self._console.quiet and sys.stderr.isatty():
            self._bar = _make_bar()
            self._bar.start()
            self._task = self._bar.add_task(f"0 of {left}", total=pixels, left="")

    def ended(self, entry: Entry, pixels: int, running: int) -> None:
        self._done += pixels
        self._merged += 1
        self._failed += entry.failure is not None
        left = self.time_left(running)
        text = f"{self._merged} of {self._left}"
        if self._failed:
            text += f", {self._failed} failed"
        if entry.failure:
            line = f"{entry.name}: {entry.failure.message}"
            self._bar.console.print(line, markup=False) if self._bar else self._console.say(line)
        if self._bar:
            self._bar.update(self._task, completed=self._done, description=text, left=left)
        elif not entry.failure:
            ahead = f"; {left}" if left else ""
            self._console.say(f"{entry.name}: {entry.seconds:.1f} s ({text}{ahead})")

    def stopping(self, running: int) -> None:
        text = f"Ending when the {running} in work are done; Ctrl-C again drops them."
        self._bar.console.print(text) if self._bar else self._console.say(text)

    def time_left(self, running: int) -> str:
        """In words; nothing where nothing is left or known."""
        passed = time.monotonic() - self._start
        worked = self._done + running / 2
        rest = self._pixels - worked
        if rest <= 0 or worked <= 0:
            return ""
        return f"{in_words(passed * rest / worked)} to go"


def in_words(seconds: float) -> str:
    """A duration as precisely as it is known."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _make_bar() -> Any:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=RichConsole(stderr=True),
        transient=True,
    )
