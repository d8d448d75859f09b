"""``hdrmerge tonemap``: an HDR file in, a picture for a display out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import PICTURE_SUFFIXES, Json, Quiet, check_input, check_output
from hdrmerge.config import TonemapConfig
from hdrmerge.errors import UsageError


def tonemap(
    image: Annotated[Path, typer.Argument(metavar="IN", help="HDR file: .exr or .hdr.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Picture to write: .jpg, .png or .tif.")
    ],
    op: Annotated[
        str,
        typer.Option(help="Operator: reinhard2002 (reinhard), reinhard2002-local, exposure."),
    ] = "reinhard2002",
    exposure: Annotated[float, typer.Option(help="Brighten or darken by this many stops.")] = 0.0,
    key: Annotated[
        float | None,
        typer.Option(
            help="Brightness of the middle, 0.18 in Reinhard's paper; default: from the picture."
        ),
    ] = None,
    white: Annotated[
        float | None,
        typer.Option(
            help="Luminance that becomes white, where the middle is KEY; default: from the picture."
        ),
    ] = None,
    depth: Annotated[
        Literal["8", "16"], typer.Option(help="Bits a value; 16 for PNG and TIFF.")
    ] = "8",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tone-maps an HDR file into a picture."""
    console = Console(quiet=quiet, as_json=as_json)
    check_input(image)
    check_output(output, PICTURE_SUFFIXES, [image])
    if depth == "16" and output.suffix.lower() in (".jpg", ".jpeg"):
        raise UsageError("JPEG holds 8 bits a value.", "Write .png or .tif, or leave out --depth.")
    given = {"key": key, "white": white}
    config = TonemapConfig(
        operator=op,
        exposure=exposure,
        parameters={name: value for name, value in given.items() if value is not None},
    )
    tonemap_file(image, output, config=config, bits=int(depth), console=console)
    if as_json:
        console.product_json({"output": str(output), "operator": op})
    else:
        console.say(f"Wrote {output}.")


def tonemap_file(
    image: Path, output: Path, *, config: TonemapConfig, bits: int, console: Console
) -> None:
    """Read, map and write; raises UsageError for a bad operator before anything is read."""
    from hdrmerge import io
    from hdrmerge.tonemap import count_bad, find_operator
    from hdrmerge.tonemap import tonemap as apply

    find_operator(config.operator).check(config.parameters)
    pixels, _ = io.read_radiance(image)
    bad = count_bad(pixels)
    if bad:
        console.warn(
            f"{image} has {bad} values that are not finite numbers; NaN is shown black and "
            "infinity as the brightest value."
        )
    io.write_display(output, apply(pixels, config, bits=bits))
