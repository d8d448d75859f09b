"""Options that ``batch`` and ``watch`` share, and what they mean to the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hdrmerge.cli.options import FILES
from hdrmerge.config import MergeConfig, TonemapConfig
from hdrmerge.errors import UsageError

if TYPE_CHECKING:
    from hdrmerge.batch.job import Products
    from hdrmerge.batch.run import BatchOptions

FINDING = "Finding brackets"
RUNNING = "Running"

# options that `batch` and `watch` share
Prefer = Annotated[
    Literal["raw", "jpeg"],
    typer.Option(help="Which file of a shot counts where there are both.", rich_help_panel=FINDING),
]
Frames = Annotated[
    int | None,
    typer.Option(
        min=2, max=99, help="Every bracket has this many frames.", rich_help_panel=FINDING
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="TEMPLATE",
        help="Names of the outputs, such as '{folder}/{first}-{last}'; also {name}, {frames}, "
        "{number}. Default: the folders mirrored, first and last photograph.",
        rich_help_panel=FILES,
    ),
]
Format = Annotated[
    Literal["exr", "hdr"], typer.Option(help="Of the HDR files.", rich_help_panel=FILES)
]
Preview = Annotated[
    Literal["jpg", "png", "tif", "avif", "jxl", "none"],
    typer.Option(help="Pictures beside the HDR files.", rich_help_panel=FILES),
]
GhostMap = Annotated[
    bool,
    typer.Option(
        "--ghost-map", help="Also a picture of what deghosting rejected.", rich_help_panel=FILES
    ),
]
Report = Annotated[
    bool, typer.Option("--report", help="Also each merge's report as JSON.", rich_help_panel=FILES)
]
Sheet = Annotated[
    bool,
    typer.Option("--sheet/--no-sheet", help="The contact sheet index.html.", rich_help_panel=FILES),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Make everything again, and replace files that no batch has written.",
        rich_help_panel=FILES,
    ),
]
SkipDoubtful = Annotated[
    bool,
    typer.Option(
        "--skip-doubtful", help="Leave out brackets that may be wrong.", rich_help_panel=RUNNING
    ),
]
Jobs = Annotated[
    str,
    typer.Option(
        metavar="auto|N",
        help="Brackets merged at once, each on one core; auto: as many as cores and memory allow, "
        "and where that is fewer than there are cores, each on several.",
        rich_help_panel=RUNNING,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="BYTES",
        help="For all of them together, such as 4G; default: most of what is free.",
        rich_help_panel=RUNNING,
    ),
]


def make_products(
    *,
    format: str,
    preview: str,
    tonemap: TonemapConfig,
    hdr: bool,
    gps: bool,
    ghost_map: bool,
    report: bool,
    float32: bool,
    compression: str,
) -> Products:
    """What to write; raises UsageError for a preview that there cannot be."""
    from hdrmerge.batch.job import Products
    from hdrmerge.picture import PictureFormat

    form = PictureFormat(hdr=hdr)
    if preview != "none":
        form.check(Path(f"preview.{preview}"))
    elif hdr:
        raise UsageError(
            "--hdr is about the previews, and none are asked for.", "Leave out --preview none."
        )
    return Products(
        format=format,
        float32=float32,
        compression=compression,
        preview=None if preview == "none" else preview,
        ghost_map=ghost_map,
        report=report,
        tonemap=tonemap,
        form=form,
        gps=gps,
    )


def make_options(
    config: MergeConfig,
    products: Products,
    *,
    jobs: str,
    memory: str | None,
    overwrite: bool = False,
    skip: bool = False,
    dask: str | None = None,
) -> BatchOptions:
    """Options of a run; raises UsageError for amounts that make no sense."""
    from hdrmerge.batch.limits import parse_bytes
    from hdrmerge.batch.run import BatchOptions

    if jobs != "auto" and not (jobs.isdecimal() and 1 <= int(jobs) <= 1024):
        raise UsageError(f"--jobs does not understand {jobs!r}.", "Give auto or a number.")
    pool = None
    if dask is not None:
        from hdrmerge.batch.remote import connect

        pool = connect(dask)
    return BatchOptions(
        config=config,
        products=products,
        jobs=None if jobs == "auto" else int(jobs),
        memory=None if memory is None else parse_bytes(memory, "--memory"),
        overwrite=overwrite,
        skip_doubtful=skip,
        pool=pool,
        remote=dask is not None,
    )
