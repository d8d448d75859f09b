"""``hdrmerge bench``: how long a merge takes on this machine, beside other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import Json, Quiet
from hdrmerge.config import Deghost

if TYPE_CHECKING:
    from hdrmerge.bench import Bench


def bench(
    megapixels: Annotated[
        float, typer.Option(min=0.05, max=400.0, help="Size of each photograph.")
    ] = 24.0,
    frames: Annotated[int, typer.Option(min=2, max=15, help="Photographs in the bracket.")] = 3,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each program; medians count.")] = 3,
    deghost: Annotated[Deghost, typer.Option(help="As of `hdrmerge fuse`.")] = "auto",
    align: Annotated[bool, typer.Option(help="As of `hdrmerge fuse`.")] = True,
    peers: Annotated[
        bool, typer.Option(help="Run OpenCV's merge too, and other programs that are installed.")
    ] = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measures time and memory of a merge on this machine, beside other programs."""
    from hdrmerge.bench import run_bench

    console = Console(quiet=quiet, as_json=as_json)
    options = ("--deghost", deghost, "--align" if align else "--no-align")
    with console.progress() as progress:
        measured = run_bench(
            megapixels, frames, runs=runs, options=options, peers=peers, progress=progress
        )
    if as_json:
        console.product_json(measured.to_dict())
    else:
        show_bench(measured, console)


def show_bench(measured: Bench, console: Console) -> None:
    """The tables of docs/performance.md, on stdout."""
    machine = ", ".join(
        value if name in ("processor", "memory", "system") else f"{name} {value}"
        for name, value in measured.machine.items()
        if name != "cores"
    )
    console.product(
        f"{measured.frames} photographs of {measured.megapixels:.1f} MP, "
        f"deghosting: {measured.deghost}; {measured.machine['cores']} cores, "
        f"load {measured.load[0]:.1f} to {measured.load[1]:.1f}"
    )
    console.product(machine)
    console.product("")
    rows = [
        (
            row.name,
            f"{row.wall:.2f}",
            f"{row.cpu:.2f}",
            "" if row.peak is None else f"{row.peak / 2**20:.0f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
        )
        for row in measured.rows
    ]
    header = ("", "wall s", "CPU s", "peak MiB", "hdrmerge is")
    console.table(header, rows, product=True)
    console.product("")
    stages = [(stage, f"{seconds:.2f}") for stage, seconds in measured.stages.items()]
    console.table(("stage of hdrmerge fuse", "wall s"), stages, product=True)
