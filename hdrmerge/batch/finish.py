"""What a batch leaves for people when it ends: the report and the contact sheet."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from hdrmerge.batch.plan import Plan
from hdrmerge.batch.report import Summary, report_json
from hdrmerge.batch.sheet import sheet
from hdrmerge.batch.state import State
from hdrmerge.batch.todo import REPORT, SHEET, STAGE
from hdrmerge.io.atomic import atomic_path, write_text


def finish(
    plan: Plan, summary: Summary, state: State, out: Path, *, seconds: float, page: bool = True
) -> None:
    """Write report.json and, unless ``page`` is false, index.html into ``out``; raises OutputError
    or ResourceError."""
    with _staged(out / REPORT) as path:
        write_text(path, report_json(plan, summary, seconds))
    if page:
        with (
            _staged(out / SHEET) as path,
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            file.writelines(sheet(summary, state, out))


@contextlib.contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A path in the stage, from where the file then moves to ``target``: where this is killed, the
    next run knows that what it finds is its own."""
    stage = target.parent / STAGE
    stage.mkdir(exist_ok=True)
    try:
        yield stage / target.name
        (stage / target.name).replace(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
