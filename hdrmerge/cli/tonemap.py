"""``hdrmerge tonemap``: an HDR file in, a picture for a display out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import PICTURE_SUFFIXES, Json, Quiet, check_input, check_output
from hdrmerge.cli.tonemap_options import (
    ALL,
    PREVIEW,
    Colour,
    Exposure,
    Op,
    Saturation,
    Set,
    tonemap_config,
)
from hdrmerge.config import TonemapConfig
from hdrmerge.errors import UsageError


def tonemap(
    image: Annotated[Path, typer.Argument(metavar="IN", help="HDR file: .exr or .hdr.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Picture to write: .jpg, .png or .tif.")
    ],
    op: Op = None,
    settings: Set = None,
    exposure: Exposure = 0.0,
    key: Annotated[
        float | None,
        typer.Option(
            help="Same as --set key=VALUE: brightness of the middle, in operators that have it.",
            rich_help_panel=PREVIEW,
        ),
    ] = None,
    white: Annotated[
        float | None,
        typer.Option(
            help="Same as --set white=VALUE: luminance that becomes white.",
            rich_help_panel=PREVIEW,
        ),
    ] = None,
    colour: Colour = None,
    saturation: Saturation = None,
    depth: Annotated[
        Literal["8", "16"], typer.Option(help="Bits a value; 16 for PNG and TIFF.")
    ] = "8",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tone-maps an HDR file into a picture; --op all: into a sheet of every operator's."""
    console = Console(quiet=quiet, as_json=as_json)
    check_input(image)
    check_output(output, PICTURE_SUFFIXES, [image])
    if depth == "16" and output.suffix.lower() in (".jpg", ".jpeg"):
        raise UsageError("JPEG holds 8 bits a value.", "Write .png or .tif, or leave out --depth.")
    config = tonemap_config(op, settings, exposure, colour, saturation, key=key, white=white)
    if config.operator == ALL and depth == "16":
        raise UsageError("The contact sheet has 8 bits a value.", "Leave out --depth.")
    tonemap_file(image, output, config=config, bits=int(depth), console=console)
    if as_json:
        console.product_json({"output": str(output), "operator": config.operator})
    else:
        console.say(f"Wrote {output}.")


def tonemap_file(
    image: Path, output: Path, *, config: TonemapConfig, bits: int, console: Console
) -> None:
    """Read, map and write."""
    from hdrmerge import io
    from hdrmerge.tonemap import contact_sheet, count_bad
    from hdrmerge.tonemap import tonemap as apply

    pixels, _ = io.read_radiance(image)
    bad = count_bad(pixels)
    if bad:
        console.warn(
            f"{image} has {bad} values that are not finite numbers; NaN is shown black and "
            "infinity as the brightest value."
        )
    if config.operator == ALL:
        codes = contact_sheet(pixels, config)
    else:
        codes = apply(pixels, config, bits=bits)
    io.write_display(output, codes)
