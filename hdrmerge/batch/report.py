"""What a batch did, bracket by bracket: for the table at the end and for report.json."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hdrmerge import __version__
from hdrmerge.batch.job import Failure, Product
from hdrmerge.batch.plan import Plan, PlannedBracket
from hdrmerge.batch.state import Record
from hdrmerge.errors import ExitCode

Status = Literal["merged", "unchanged", "failed", "skipped", "left"]


@dataclass(slots=True)
class Entry:
    """One bracket. ``status``: merged now, unchanged since an earlier run, failed, skipped for
    its doubt, or left because the batch was stopped."""

    name: str
    files: tuple[str, ...]
    doubt: str | None = None
    status: Status = "left"
    outputs: dict[Product, str] = field(default_factory=dict)
    edited: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None
    seconds: float = 0.0
    peak: int = 0

    def done(self, status: Status, record: Record, outputs: dict[Product, str]) -> None:
        """It is merged, now or before."""
        self.status, self.outputs = status, outputs
        warnings = (record.report or {}).get("warnings")
        self.warnings = tuple(map(str, warnings)) if isinstance(warnings, list) else ()
        self.seconds, self.peak = record.seconds, record.peak

    def fail(self, failure: Failure, seconds: float = 0.0, peak: int = 0) -> None:
        self.status, self.failure, self.seconds, self.peak = "failed", failure, seconds, peak


@dataclass(slots=True)
class Summary:
    """All brackets of a run, by name in the plan's order. ``stopped``: why not all were tried."""

    entries: dict[str, Entry] = field(default_factory=dict)
    stopped: str | None = None

    def add(self, bracket: PlannedBracket, files: list[Path]) -> Entry:
        entry = Entry(bracket.name, tuple(map(str, files)), bracket.doubt)
        self.entries[bracket.name] = entry
        return entry

    def count(self) -> Counter[Status]:
        return Counter(entry.status for entry in self.entries.values())

    @property
    def failures(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.failure]


def report_json(plan: Plan, summary: Summary, seconds: float) -> str:
    """The report as JSON: totals, then each bracket, then the files that are in none."""
    count = summary.count()
    data = {
        "hdrmerge_batch": 1,
        "version": __version__,
        "root": plan.root,
        "seconds": round(seconds, 3),
        "stopped": summary.stopped,
        "totals": {
            **{s: count[s] for s in ("merged", "unchanged", "failed", "skipped", "left")},
            "singles": len(plan.singles),
            "duplicates": len(plan.duplicates),
            "unreadable": len(plan.unreadable),
        },
        "brackets": [_entry(entry) for entry in summary.entries.values()],
        "singles": [asdict(f) for f in plan.singles],
        "duplicates": [asdict(f) for f in plan.duplicates],
        "unreadable": [asdict(f) for f in plan.unreadable],
        "warnings": list(plan.warnings),
    }
    # names of files may hold what is no Unicode: it becomes escapes
    return json.dumps(data, indent=1, ensure_ascii=True) + "\n"


def _entry(entry: Entry) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": entry.name,
        "status": entry.status,
        "files": list(entry.files),
        "outputs": entry.outputs,
        "seconds": entry.seconds,
        "peak_bytes": entry.peak,
    }
    if entry.doubt:
        data["doubt"] = entry.doubt
    if entry.warnings:
        data["warnings"] = list(entry.warnings)
    if entry.edited:
        data["edited"] = list(entry.edited)
    if entry.failure:
        kind = ExitCode(entry.failure.code).name.lower()
        failure = {
            k: v for k, v in asdict(entry.failure).items() if v and k not in ("died", "full")
        }
        data["failure"] = {"kind": kind, **failure}
    return data
