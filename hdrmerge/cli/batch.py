"""``hdrmerge batch``: folders of photographs in, every bracket in them merged."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrmerge.cli.batch_options import (
    FINDING,
    RUNNING,
    Frames,
    Name,
    Overwrite,
    Prefer,
    Sheet,
    SkipDoubtful,
    takes_merging,
)
from hdrmerge.cli.console import Console
from hdrmerge.cli.options import FILES, Json, Quiet, check_new_folder, make_folder
from hdrmerge.cli.plan import offer_plan
from hdrmerge.errors import (
    InputError,
    InterruptedBatchError,
    PartialError,
    ResourceError,
    UsageError,
)

if TYPE_CHECKING:
    from hdrmerge.batch.plan import FindOptions, Plan
    from hdrmerge.batch.report import Summary
    from hdrmerge.batch.run import BatchOptions


@takes_merging
def batch(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Folders of photographs, or a plan (.json)."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the results.", rich_help_panel=FILES),
    ] = None,
    prefer: Prefer = "raw",
    frames: Frames = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Print the plan and do nothing; --json: as JSON.",
            rich_help_panel=FINDING,
        ),
    ] = False,
    save_plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the plan to a JSON file, to be edited and run, and do nothing.",
            rich_help_panel=FINDING,
        ),
    ] = None,
    name: Name = None,
    sheet: Sheet = True,
    overwrite: Overwrite = False,
    skip_doubtful: SkipDoubtful = False,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Merge on the workers of this Dask scheduler, such as tcp://host:8786; all must "
            "see the folders under the same paths.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    *,
    options: BatchOptions,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Finds the brackets in folders and merges them all.

    Interrupted in whatever way, the same command goes on where it stopped.
    """
    from hdrmerge.batch.plan import FindOptions

    console = Console(quiet=quiet, as_json=as_json)
    if output is not None:
        check_folder(output, folders)
    found = find_plan(folders, FindOptions(prefer, frames, exclude=output), console)
    if name is not None:
        from hdrmerge.batch.naming import rename

        found = rename(found, name)
    if plan or save_plan is not None:
        offer_plan(found, save_plan, show=plan, console=console)
        return
    if output is None:
        raise UsageError("Where should the results go?", "Name a folder with --output.")
    if not found.brackets:
        raise InputError(
            "No brackets were found.",
            "--plan says why each photograph is in none; --frames N if you know how many belong "
            "together.",
        )
    options = replace(options, overwrite=overwrite, skip_doubtful=skip_doubtful)
    if dask is not None:
        from hdrmerge.batch.remote import connect

        options = replace(options, pool=connect(dask), remote=True)
    summary = merge_plan(found, output, options, page=sheet, console=console)
    conclude(found, summary, output, console)


def check_folder(output: Path, folders: list[Path]) -> None:
    """Raise where ``output`` cannot become the output folder."""
    for folder in folders:
        if folder.is_dir() and output.exists() and folder.samefile(output):
            raise UsageError(
                f"{output} is both searched and written to.",
                f"Choose a folder of its own, such as {output / 'hdr'}.",
            )
    check_new_folder(output)


def find_plan(folders: list[Path], options: FindOptions, console: Console) -> Plan:
    """The plan of a file, or of what lies in the folders."""
    from hdrmerge.batch.find import find_brackets
    from hdrmerge.batch.plan import read_plan

    plans = [folder for folder in folders if folder.suffix.lower() == ".json"]
    if plans and len(folders) > 1:
        raise UsageError("A plan is run by itself.", f"Leave out all but {plans[0]}.")
    if plans:
        return read_plan(plans[0])
    with console.progress() as progress:
        return find_brackets(folders, options, progress=progress)


def merge_plan(
    plan: Plan, output: Path, options: BatchOptions, *, page: bool, console: Console
) -> Summary:
    """Run the plan; the report and the contact sheet are written however it ends."""
    from hdrmerge.batch.finish import finish
    from hdrmerge.batch.run import run_batch
    from hdrmerge.batch.state import State
    from hdrmerge.cli.progress import BatchProgress

    start = time.monotonic()
    make_folder(output)
    for warning in plan.warnings:
        console.warn(warning)
    with State(output) as state:
        with BatchProgress(console) as progress:
            summary = run_batch(plan, output, state, options, progress)
        show_failures(summary, console)
        finish(plan, summary, state, output, seconds=time.monotonic() - start, page=page)
    return summary


def show_failures(summary: Summary, console: Console) -> None:
    """The table of what failed and why, and what to do about it."""
    failures = summary.failures
    if failures:
        rows = [(f.name, f.failure.message) for f in failures if f.failure]
        console.table(("failed", "cause"), rows)
        for hint in dict.fromkeys(f.failure.hint for f in failures if f.failure):
            if hint:
                console.say(f"hint: {hint}")
    edited = [path for entry in summary.entries.values() for path in entry.edited]
    if edited:
        console.warn(
            f"{len(edited)} outputs were changed by another program and are left as they are "
            f"({', '.join(edited[:3])}{', ...' if len(edited) > 3 else ''}); --overwrite makes "
            "them again."
        )


def conclude(plan: Plan, summary: Summary, output: Path, console: Console) -> None:
    """Say what was done; raise where not everything was."""
    count = summary.count()
    done, total = count["merged"] + count["unchanged"], len(summary.entries)
    single = len(plan.singles)
    left_out = f", {single} single shot{'s were' if single > 1 else ' was'} left out"
    left_out = left_out if single else ""
    if console.as_json:
        console.product((output / "report.json").read_text().rstrip())
    console.say(
        f"{done} of {total} brackets are merged ({count['merged']} now){left_out}; "
        f"{output / 'report.json'} says more."
    )
    again = "The same command goes on where this one stopped."
    if summary.stopped == "interrupted":
        raise InterruptedBatchError(f"Interrupted: {done} of {total} brackets are merged.", again)
    if summary.stopped:
        raise ResourceError(
            f"Stopped because {summary.stopped}: {done} of {total} brackets are merged.",
            f"Free some space. {again}",
        )
    if count["failed"]:
        raise PartialError(
            f"{count['failed']} of {total} brackets failed.",
            f"{output / 'report.json'} says which and why; the same command tries them again.",
        )
