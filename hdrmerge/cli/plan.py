"""A plan as people see it: tables on stdout, or a file to edit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hdrmerge.cli.console import Console

if TYPE_CHECKING:
    from hdrmerge.batch.plan import Plan


def offer_plan(plan: Plan, path: Path | None, *, show: bool, console: Console) -> None:
    """Print the plan, or write it to a file."""
    if path is not None:
        from hdrmerge.batch.plan import write_plan

        write_plan(plan, path)
        console.say(f"Wrote {path}; run it with: hdrmerge batch {path} -o FOLDER")
    if show and console.as_json:
        console.product(plan.to_json().rstrip())
    elif show:
        show_plan(plan, console)
    if not show:
        console.say(count_plan(plan))


def show_plan(plan: Plan, console: Console) -> None:
    """The plan as tables on stdout."""
    rows = [
        (
            bracket.name,
            str(len(bracket.files)),
            " ".join(f"{s:+.1f}" for s in bracket.stops) if bracket.stops else "-",
            bracket.reason,
        )
        for bracket in plan.brackets
    ]
    if rows:
        console.table(("bracket", "frames", "stops", "recognised by"), rows, product=True)
    for bracket in plan.doubtful:
        console.product(f"doubtful: {bracket.name}: {bracket.doubt}")
    kinds = (
        ("single", plan.singles),
        ("duplicate", plan.duplicates),
        ("unreadable", plan.unreadable),
    )
    for kind, files in kinds:
        for file in files:
            console.product(f"{kind}: {file.file}: {file.reason}")
    for warning in plan.warnings:
        console.warn(warning)
    console.product(count_plan(plan))


def count_plan(plan: Plan) -> str:
    """What the plan holds, in a line."""
    return (
        f"{_counted(len(plan.brackets), 'bracket')} ({len(plan.doubtful)} doubtful), "
        f"{_counted(len(plan.singles), 'single shot')}, "
        f"{_counted(len(plan.duplicates), 'duplicate')}, {len(plan.unreadable)} unreadable"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
