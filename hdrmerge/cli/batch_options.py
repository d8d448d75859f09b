"""Options that ``batch`` and ``watch`` share, and what they mean to the library."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from hdrmerge.cli.options import (
    FILES,
    Align,
    Compression,
    Deghost,
    Device,
    Float32,
    Model,
    Refine,
    Response,
    Tile,
    Weights,
    check_compression,
)
from hdrmerge.cli.picture_options import Gps, Hdr
from hdrmerge.cli.tonemap_options import (
    Colour,
    Exposure,
    Op,
    Saturation,
    Set,
    preview_config,
)
from hdrmerge.config import MergeConfig
from hdrmerge.errors import UsageError

if TYPE_CHECKING:
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


def merging(
    format: Format = "exr",
    preview: Preview = "jpg",
    op: Op = None,
    settings: Set = None,
    exposure: Exposure = 0.0,
    colour: Colour = None,
    saturation: Saturation = None,
    hdr: Hdr = False,
    gps: Gps = True,
    ghost_map: GhostMap = False,
    report: Report = False,
    float32: Float32 = False,
    compression: Compression = None,
    response: Response = "auto",
    align: Align = True,
    deghost: Deghost = "auto",
    model: Model = None,
    weights: Weights = None,
    refine: Refine = True,
    device: Device = "auto",
    tile: Tile = None,
    jobs: Jobs = "auto",
    memory: Memory = None,
) -> BatchOptions:
    """What the options ask for; raises UsageError and WeightsError for what makes no sense."""
    from hdrmerge.batch.job import Products
    from hdrmerge.batch.limits import parse_bytes
    from hdrmerge.batch.run import BatchOptions
    from hdrmerge.deghost import choose_method
    from hdrmerge.picture import PictureFormat

    form = PictureFormat(hdr=hdr)
    if preview != "none":
        form.check(Path(f"preview.{preview}"))
    elif hdr:
        raise UsageError(
            "--hdr is about the previews, and none are asked for.", "Leave out --preview none."
        )
    if jobs != "auto" and not (jobs.isdecimal() and 1 <= int(jobs) <= 1024):
        raise UsageError(f"--jobs does not understand {jobs!r}.", "Give auto or a number.")
    config = MergeConfig(
        response=response,
        align=align,
        deghost=deghost,
        model=model,
        weights=weights,
        refine=refine,
        device=device,
        tile=tile,
    )
    choose_method(config)
    products = Products(
        format=format,
        float32=float32,
        compression=check_compression(compression, float32, f".{format}"),
        preview=None if preview == "none" else preview,
        ghost_map=ghost_map,
        report=report,
        tonemap=preview_config(op, settings, exposure, colour, saturation),
        form=form,
        gps=gps,
    )
    return BatchOptions(
        config=config,
        products=products,
        jobs=None if jobs == "auto" else int(jobs),
        memory=None if memory is None else parse_bytes(memory, "--memory"),
    )


def takes_merging(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the options of ``merging`` in place of its parameter ``options``, which is
    given what they ask for."""
    shared = inspect.signature(merging).parameters
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        parameters += shared.values() if name == "options" else [parameter]
    names = {"BatchOptions": Any}  # known to type checkers alone
    hints = get_type_hints(merging, localns=names, include_extras=True)
    hints |= get_type_hints(command, localns=names, include_extras=True)

    @functools.wraps(command)
    def whole(**given: Any) -> None:
        options = merging(**{name: given.pop(name) for name in shared})
        command(**given, options=options)

    whole.__annotations__ = {p.name: hints[p.name] for p in parameters}
    whole.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=p.KEYWORD_ONLY, annotation=hints[p.name]) for p in parameters]
    )
    del whole.__wrapped__
    return whole
