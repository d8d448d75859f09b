"""``hdrmerge fuse``: photographs in, an HDR file out."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrmerge.cli.compiler import wake_compiler
from hdrmerge.cli.console import Console
from hdrmerge.cli.options import (
    DISPLAY_SUFFIXES,
    EXPOSURE,
    FILES,
    GHOSTS,
    HDR_SUFFIXES,
    Align,
    Compression,
    Deghost,
    Device,
    Float32,
    Json,
    Model,
    Quiet,
    Refine,
    Response,
    Tile,
    Weights,
    check_compression,
    check_output,
    choose_reference,
    expand_paths,
    make_folder,
    parse_numbers,
    photographs,
)
from hdrmerge.cli.picture_options import Gps, Hdr
from hdrmerge.cli.report import show_report
from hdrmerge.cli.tonemap_options import (
    Colour,
    Exposure,
    Op,
    Saturation,
    Set,
    preview_config,
)
from hdrmerge.config import MergeConfig, TonemapConfig
from hdrmerge.errors import OutputError, StackError, UsageError
from hdrmerge.picture import PICTURE_SUFFIXES, PictureFormat

if TYPE_CHECKING:
    from hdrmerge.pipeline import MergeResult
    from hdrmerge.report import MergeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the results go; None: not asked for."""

    radiance: Path
    preview: Path | None = None
    tonemap: TonemapConfig = field(default_factory=TonemapConfig)
    form: PictureFormat = field(default_factory=PictureFormat)
    gps: bool = True
    ghost_map: Path | None = None
    attention_map: Path | None = None
    report: Path | None = None
    float32: bool = False
    compression: str = "piz"


def fuse(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="The photographs of one bracket, in any order."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="HDR file to write: .exr or .hdr.", rich_help_panel=FILES
        ),
    ],
    preview: Annotated[
        Path | None,
        typer.Option(help="Also write a tone-mapped picture here.", rich_help_panel=FILES),
    ] = None,
    ghost_map: Annotated[
        Path | None,
        typer.Option(
            help="Also write a picture of what deghosting rejected: white, every frame is used; "
            "black, the reference alone.",
            rich_help_panel=FILES,
        ),
    ] = None,
    attention_map: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write into this folder, as PNG pictures, what a published network (--model "
            "ahdrnet or sk-ahdrnet) attends to in the short and in the long frame.",
            rich_help_panel=FILES,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Also write the report as JSON here.", rich_help_panel=FILES),
    ] = None,
    float32: Float32 = False,
    compression: Compression = None,
    ev: Annotated[
        str | None,
        typer.Option(
            metavar="STOPS",
            help="Exposure of each file in stops, such as -2,0,+2; overrides EXIF.",
            rich_help_panel=EXPOSURE,
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="Exposure time of each file, such as 1/60,1/15,1/4; overrides EXIF.",
            rich_help_panel=EXPOSURE,
        ),
    ] = None,
    response: Response = "auto",
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FRAME",
            help="The frame that supplies geometry and moving things: a file's name or its place "
            "(the first is 1). Default: the best exposed.",
            rich_help_panel=GHOSTS,
        ),
    ] = None,
    align: Align = True,
    deghost: Deghost = "auto",
    model: Model = None,
    weights: Weights = None,
    refine: Refine = True,
    device: Device = "auto",
    tile: Tile = None,
    op: Op = None,
    settings: Set = None,
    exposure: Exposure = 0.0,
    colour: Colour = None,
    saturation: Saturation = None,
    hdr: Hdr = False,
    gps: Gps = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fuses a bracket of photographs into one HDR file."""
    console = Console(quiet=quiet, as_json=as_json)
    given = {"op": op, "set": settings, "exposure": exposure, "colour": colour}
    check_useful(preview, **given, saturation=saturation is not None, hdr=hdr)
    outputs = Outputs(
        radiance=output,
        preview=preview,
        tonemap=preview_config(op, settings, exposure, colour, saturation),
        form=PictureFormat(hdr=hdr),
        gps=gps,
        ghost_map=ghost_map,
        attention_map=attention_map,
        report=report,
        float32=float32,
        compression=check_compression(compression, float32, output.suffix),
    )
    paths = photographs(expand_paths(files), console)
    config = MergeConfig(
        ev=parse_numbers(ev, "--ev") if ev else None,
        times=parse_numbers(times, "--times") if times else None,
        response=response,
        reference=choose_reference(reference, paths),
        align=align,
        deghost=deghost,
        model=model,
        weights=weights,
        refine=refine,
        device=device,
        tile=tile,
        attention=attention_map is not None,
    )
    check_bracket(paths, config)
    check_outputs(outputs, paths)
    if attention_map is not None and attention_map.exists() and not attention_map.is_dir():
        raise OutputError(f"{attention_map} is a file.", "Name a folder for --attention-map.")
    merged = fuse_files(paths, outputs=outputs, config=config, console=console)
    if as_json:
        console.product_json({"output": str(output), **merged.to_dict()})
    else:
        show_report(merged, console)
        console.say(f"Wrote {output}.")


def check_useful(preview: Path | None, **options: object) -> None:
    """Raise UsageError for options of the preview where none is to be made."""
    useless = [name for name, value in options.items() if value]
    if preview is None and useless:
        raise UsageError(
            f"--{useless[0]} is about the preview, and none is asked for.",
            "Add --preview FILE, or use `hdrmerge tonemap` on the HDR file later.",
        )


def check_bracket(paths: list[Path], config: MergeConfig) -> None:
    """Raise for what the names and options alone show to be wrong."""
    for first, second in combinations(paths, 2):
        if first.samefile(second):
            raise StackError(f"{first} is given twice.", "Name each photograph once.")
        if first.stat().st_size > 0 and filecmp.cmp(first, second, shallow=False):
            raise StackError(
                f"{first} and {second} are the same photograph.",
                "A bracket needs different exposures: leave the copy out.",
            )
    if len(paths) < 2:
        raise StackError(
            "A bracket needs at least two photographs, and only one was given.",
            "Name all photographs of the bracket, or a pattern such as 'IMG_*.jpg'.",
        )
    for option, values in (("--ev", config.ev), ("--times", config.times)):
        if values is not None and len(values) != len(paths):
            raise UsageError(
                f"{option} has {len(values)} values for {len(paths)} photographs.",
                "Give one value for each file, in the order of the files.",
            )
    if config.ev is not None and config.times is not None:
        raise UsageError("--ev and --times exclude each other.", "Give the one you trust.")
    if config.times is not None and min(config.times) <= 0:
        raise UsageError("--times must be positive.", "Give seconds, for example 1/60,1/15,1/4.")


def check_outputs(outputs: Outputs, inputs: list[Path]) -> None:
    """Raise before any work where an output could not be written."""
    check_output(outputs.radiance, HDR_SUFFIXES, inputs)
    wanted = [
        (outputs.preview, PICTURE_SUFFIXES),
        (outputs.ghost_map, DISPLAY_SUFFIXES),
        (outputs.report, (".json",)),
    ]
    taken = {outputs.radiance.resolve()}
    for path, suffixes in wanted:
        if path is None:
            continue
        check_output(path, suffixes, inputs)
        if path.resolve() in taken:
            raise UsageError(f"{path} is named for two outputs.", "Give each output its own name.")
        taken.add(path.resolve())
    if outputs.preview is not None:
        outputs.form.check(outputs.preview)


def fuse_files(
    paths: list[Path], *, outputs: Outputs, config: MergeConfig, console: Console
) -> MergeReport:
    """Read, merge and write; each file appears complete or not at all."""
    from hdrmerge import io
    from hdrmerge.memory import keep_freed_blocks
    from hdrmerge.pipeline import Clock, merge_stack
    from hdrmerge.results import without_place

    keep_freed_blocks()
    with console.progress() as progress:
        clock = Clock(progress)
        with clock.stage("read"):
            wake_compiler(console)
            frames = io.read_frames(paths, progress=progress)
        half = outputs.radiance.suffix.lower() == ".exr" and not outputs.float32
        result = merge_stack(frames, config, half=half, progress=progress)
        del frames
        if not outputs.gps:
            result = without_place(result)
        with clock.stage("write"):
            write_results(result, outputs)
    report = result.report
    report.seconds = {
        "read": clock.seconds["read"],
        **report.seconds,
        "write": clock.seconds["write"],
    }
    return report


def write_results(result: MergeResult, outputs: Outputs) -> None:
    """The HDR file takes its name last, so that it stands for a merge that ended well."""
    from concurrent.futures import ThreadPoolExecutor

    from hdrmerge import io
    from hdrmerge.results import ghost_picture, write_radiance

    if outputs.ghost_map is not None:
        shape = result.radiance.stored.shape
        io.write_display(outputs.ghost_map, ghost_picture(result, shape[0], shape[1]))
    if outputs.attention_map is not None:
        make_folder(outputs.attention_map)
        for slot, plane in result.attention.items():
            picture = (plane / max(float(plane.max()), 1e-6))[..., None].repeat(3, axis=2)
            io.write_display(outputs.attention_map / f"attention_{slot}.png", picture)
    if outputs.report is not None:
        io.write_text(outputs.report, result.report.to_json(indent=2) + "\n")
    with ThreadPoolExecutor(1) as beside:
        preview = beside.submit(write_preview, result, outputs)
        write_radiance(
            outputs.radiance,
            result,
            float32=outputs.float32,
            compression=outputs.compression,
            ready=preview.result,
        )


def write_preview(result: MergeResult, outputs: Outputs) -> None:
    """The tone-mapped picture, if there is to be one."""
    from hdrmerge.picture import write_picture

    if outputs.preview is not None:
        pixels, settings = result.radiance.stored, result.settings
        write_picture(outputs.preview, pixels, outputs.tonemap, outputs.form, settings)
