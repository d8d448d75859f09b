"""A folder that a camera is filling: which brackets in it are complete by now."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hdrmerge.batch.find import find_brackets
from hdrmerge.batch.plan import FindOptions, Plan, PlannedBracket
from hdrmerge.batch.report import Summary

Stamp = tuple[int, int]  # size and time of change


@dataclass(slots=True)
class Folder:
    """``folder`` as it is seen from one look to the next.

    A file is complete when two looks in a row find it alike. A bracket is complete when all its
    files are and it has as many as ``find.frames`` says, or a later bracket has begun, or nothing
    has come for ``settle`` seconds.
    """

    folder: Path
    find: FindOptions
    settle: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, Stamp] = field(default_factory=dict)
    _arrived: dict[str, float] = field(default_factory=dict)
    _pending: bool = False
    _failed: dict[tuple[str, ...], str] = field(default_factory=dict)
    _merged: set[tuple[str, ...]] = field(default_factory=set)

    def look(self) -> Plan | None:
        """The plan of all complete brackets, where there are new ones among them."""
        now = self.clock()
        found = self._stamps()
        growing = {path for path, stamp in found.items() if self._seen.get(path) != stamp}
        self._arrived.update(dict.fromkeys(growing, now))
        self._seen = found
        for files in [files for files in self._failed if growing & set(files)]:
            del self._failed[files]
            self._merged.discard(files)
        self._pending = self._pending or bool(growing)
        if not self._pending or len(growing) == len(found):
            return None
        plan = find_brackets([self.folder], self.find)
        complete = [b for b in plan.brackets if self._complete(plan, b, growing, now)]
        self._pending = bool(growing) or len(complete) + len(self._failed) < len(plan.brackets)
        if not any(self._files(plan, b) not in self._merged for b in complete):
            return None
        return dataclasses.replace(plan, brackets=tuple(complete))

    def remember(self, plan: Plan, summary: Summary) -> None:
        """What has been merged, and what failed: that is tried again when its files change."""
        for bracket in plan.brackets:
            files = self._files(plan, bracket)
            entry = summary.entries.get(bracket.name)
            if entry is not None and entry.status != "left":
                self._merged.add(files)
                if entry.failure:
                    self._failed[files] = bracket.name

    @property
    def failed(self) -> list[str]:
        """Names of the brackets that could not be merged."""
        return list(self._failed.values())

    def _complete(self, plan: Plan, bracket: PlannedBracket, growing: set[str], now: float) -> bool:
        files = self._files(plan, bracket)
        if growing & set(files) or files in self._failed:
            return False
        if files in self._merged or len(files) == self.find.frames:
            return True
        last = self._last(files)
        begun = any(
            min(self._arrived.get(file, now) for file in self._files(plan, other)) > last
            for other in plan.brackets
            if other is not bracket
        )
        return begun or now - max(self._arrived.values()) >= self.settle

    def _last(self, files: tuple[str, ...]) -> float:
        return max(self._arrived.get(file, self.clock()) for file in files)

    @staticmethod
    def _files(plan: Plan, bracket: PlannedBracket) -> tuple[str, ...]:
        return tuple(str(path) for path in plan.paths(bracket))

    def _stamps(self) -> dict[str, Stamp]:
        """Size and time of every file below the folder, but for the output's."""
        avoid = None if self.find.exclude is None else os.path.realpath(self.find.exclude)
        found: dict[str, Stamp] = {}
        for where, below, files in os.walk(os.path.abspath(self.folder)):  # noqa: PTH100
            below[:] = [
                name
                for name in below
                if not name.startswith(".") and os.path.realpath(Path(where, name)) != avoid
            ]
            for name in files:
                try:
                    status = Path(where, name).stat()
                except OSError:  # gone again: a transfer's temporary
                    continue
                found[str(Path(where, name))] = (status.st_size, status.st_mtime_ns)
        return found
