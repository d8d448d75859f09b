"""``hdrmerge fuse``: photographs in, an HDR file out."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import (
    Device,
    Json,
    Quiet,
    check_output,
    choose_reference,
    expand_paths,
    parse_numbers,
)
from hdrmerge.cli.report import show_report
from hdrmerge.config import Deghost, MergeConfig
from hdrmerge.errors import StackError, UsageError

if TYPE_CHECKING:
    from hdrmerge.frames import FloatArray
    from hdrmerge.pipeline import MergeResult
    from hdrmerge.report import MergeReport

HDR_SUFFIXES = (".exr", ".hdr")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
Compression = Literal["none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab"]

_FILES = "Files"
_EXPOSURE = "Exposure and response"
_GHOSTS = "Alignment and ghosts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the results go; None: not asked for."""

    radiance: Path
    preview: Path | None = None
    ghost_map: Path | None = None
    report: Path | None = None
    float32: bool = False
    compression: str = "zip"


def fuse(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="The photographs of one bracket, in any order."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="HDR file to write: .exr or .hdr.", rich_help_panel=_FILES
        ),
    ],
    preview: Annotated[
        Path | None,
        typer.Option(help="Also write a tone-mapped picture here.", rich_help_panel=_FILES),
    ] = None,
    ghost_map: Annotated[
        Path | None,
        typer.Option(
            help="Also write a picture of what deghosting rejected: white, every frame is used; "
            "black, the reference alone.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Also write the report as JSON here.", rich_help_panel=_FILES),
    ] = None,
    float32: Annotated[
        bool,
        typer.Option("--float32", help="32 bits a value instead of 16.", rich_help_panel=_FILES),
    ] = False,
    compression: Annotated[
        Compression,
        typer.Option(
            metavar="NAME",
            help="Of the EXR: none, rle, zips, zip, piz, pxr24, b44, b44a, dwaa or dwab.",
            rich_help_panel=_FILES,
        ),
    ] = "zip",
    ev: Annotated[
        str | None,
        typer.Option(
            metavar="STOPS",
            help="Exposure of each file in stops, such as -2,0,+2; overrides EXIF.",
            rich_help_panel=_EXPOSURE,
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="Exposure time of each file, such as 1/60,1/15,1/4; overrides EXIF.",
            rich_help_panel=_EXPOSURE,
        ),
    ] = None,
    response: Annotated[
        str,
        typer.Option(
            metavar="RESPONSE",
            help="How the camera turned light into codes: auto, srgb, linear, gamma:2.2, estimate "
            "from the bracket, or a saved JSON file.",
            rich_help_panel=_EXPOSURE,
        ),
    ] = "auto",
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FRAME",
            help="The frame that supplies geometry and moving things: a file's name or its place "
            "(the first is 1). Default: the best exposed.",
            rich_help_panel=_GHOSTS,
        ),
    ] = None,
    align: Annotated[bool, typer.Option(help="Align the frames.", rich_help_panel=_GHOSTS)] = True,
    deghost: Annotated[
        Deghost,
        typer.Option(help="How ghosts of moving things are found.", rich_help_panel=_GHOSTS),
    ] = "auto",
    model: Annotated[
        str | None, typer.Option(help="Network to deghost with.", rich_help_panel=_GHOSTS)
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="The network's weights: a name, a .safetensors file, or hf:OWNER/REPO.",
            rich_help_panel=_GHOSTS,
        ),
    ] = None,
    device: Device = "auto",
    tile: Annotated[
        int | None,
        typer.Option(min=64, help="Side of a network tile in pixels; smaller needs less memory."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fuses a bracket of photographs into one HDR file."""
    console = Console(quiet=quiet, as_json=as_json)
    outputs = Outputs(
        radiance=output,
        preview=preview,
        ghost_map=ghost_map,
        report=report,
        float32=float32,
        compression=compression,
    )
    paths = expand_paths(files)
    config = MergeConfig(
        ev=parse_numbers(ev, "--ev") if ev else None,
        times=parse_numbers(times, "--times") if times else None,
        response=response,
        reference=choose_reference(reference, paths),
        align=align,
        deghost=deghost,
        model=model,
        weights=weights,
        device=device,
        tile=tile,
    )
    check_bracket(paths, config)
    check_outputs(outputs, paths)
    merged = fuse_files(paths, outputs=outputs, config=config, console=console)
    if as_json:
        console.product_json({"output": str(output), **merged.to_dict()})
    else:
        show_report(merged, console)
        console.say(f"Wrote {output}.")


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
        (outputs.ghost_map, PICTURE_SUFFIXES),
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


def fuse_files(
    paths: list[Path], *, outputs: Outputs, config: MergeConfig, console: Console
) -> MergeReport:
    """Read, merge and write; each file appears complete or not at all."""
    from hdrmerge import io
    from hdrmerge.pipeline import merge_stack

    with console.progress() as progress:
        frames = io.read_frames(paths, progress=progress)
        result = merge_stack(frames, config, progress=progress)
        del frames
        if progress is not None:
            progress("write", 0.5)
        write_results(result, outputs)
    return result.report


def write_results(result: MergeResult, outputs: Outputs) -> None:
    """The HDR file last, so that it stands for a merge that ended well."""
    from hdrmerge import io
    from hdrmerge.tonemap import tonemap

    if outputs.preview is not None:
        io.write_display(outputs.preview, tonemap(result.radiance.pixels))
    if outputs.ghost_map is not None:
        shape = result.radiance.pixels.shape
        io.write_display(outputs.ghost_map, ghost_picture(result, shape[0], shape[1]))
    if outputs.report is not None:
        io.write_text(outputs.report, result.report.to_json(indent=2) + "\n")
    if outputs.radiance.suffix.lower() == ".exr":
        io.write_exr(
            outputs.radiance,
            result.radiance,
            result.report,
            result.settings,
            float32=outputs.float32,
            compression=outputs.compression,
        )
    else:
        io.write_hdr(outputs.radiance, result.radiance, result.report, result.settings)


def ghost_picture(result: MergeResult, height: int, width: int) -> FloatArray:
    """(height, width, 3) in [0, 1]: mean trust in the frames other than the reference."""
    import cv2
    import numpy as np

    trust = result.ghost_map
    if trust is None:
        return np.ones((height, width, 3), np.float32)
    others = [
        plane
        for plane, row in zip(trust, result.report.frames, strict=True)
        if row.file != result.report.reference
    ]
    mean = cv2.resize(np.mean(others, axis=0), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.repeat(np.clip(mean, 0, 1)[..., None], 3, axis=2).astype(np.float32)
