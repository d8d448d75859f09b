"""``hdrmerge watch``: merges what a camera fires into a folder, as each bracket is complete."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrmerge.cli.batch import check_folder, merge_plan
from hdrmerge.cli.batch_options import (
    FINDING,
    RUNNING,
    Frames,
    Name,
    Prefer,
    Sheet,
    takes_merging,
)
from hdrmerge.cli.console import Console
from hdrmerge.cli.options import FILES, Quiet
from hdrmerge.errors import InputError, PartialError, UsageError

if TYPE_CHECKING:
    from hdrmerge.batch.run import BatchOptions


@takes_merging
def watch(
    folder: Annotated[Path, typer.Argument(help="Folder that photographs arrive in.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results.", rich_help_panel=FILES)
    ],
    prefer: Prefer = "raw",
    frames: Frames = None,
    settle: Annotated[
        float,
        typer.Option(
            min=0.5,
            help="Seconds without another frame after which a bracket is complete; with --frames "
            "it is as soon as it has them.",
            rich_help_panel=FINDING,
        ),
    ] = 5.0,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between looks.", rich_help_panel=RUNNING)
    ] = 1.0,
    name: Name = None,
    sheet: Sheet = True,
    *,
    options: BatchOptions,
    quiet: Quiet = False,
) -> None:
    """Merges brackets as they arrive in a folder, until Ctrl-C.

    Give --frames if every bracket has as many: nothing is waited for then.
    """
    from hdrmerge.batch.naming import rename
    from hdrmerge.batch.plan import FindOptions
    from hdrmerge.batch.stop import Stop
    from hdrmerge.batch.watch import Folder

    console = Console(quiet=quiet)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Give the folder that the camera fills.")
    if name is not None and "{number}" in name:
        raise UsageError("--name cannot count with {number} what has yet to come.")
    check_folder(output, [folder])
    watched = Folder(folder, FindOptions(prefer, frames, exclude=output), settle)
    console.say(f"Watching {folder}; Ctrl-C ends.")
    done = 0
    with Stop() as stop:
        while not stop.asked:
            plan = watched.look()
            if plan is not None:
                named = plan if name is None else rename(plan, name)
                summary = merge_plan(named, output, options, page=sheet, console=console)
                watched.remember(named, summary)
                count = summary.count()
                done = count["merged"] + count["unchanged"]
                if summary.stopped == "interrupted":
                    break
            time.sleep(interval)
    console.say(f"{done} brackets are merged.")
    if watched.failed:
        raise PartialError(
            f"{len(watched.failed)} brackets failed: {', '.join(watched.failed[:5])}.",
            f"hdrmerge batch {folder} -o {output} tries them again.",
        )
