"""``hdrmerge tonemap``: an HDR file in, a picture for a display out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hdrmerge.cli.compiler import wake_compiler
from hdrmerge.cli.console import Console
from hdrmerge.cli.options import Json, Quiet, check_input, check_output
from hdrmerge.cli.picture_options import (
    Depth,
    DiffuseWhite,
    Dither,
    GainMap,
    Gps,
    Hdr,
    Peak,
    Quality,
)
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
from hdrmerge.picture import PICTURE_SUFFIXES, PictureFormat


def tonemap(
    image: Annotated[
        Path, typer.Argument(metavar="IN", help="HDR file: EXR, Radiance HDR, PFM or float TIFF.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Picture to write: .jpg, .png, .tif, .avif or .jxl."),
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
    hdr: Hdr = False,
    depth: Depth = None,
    quality: Quality = None,
    dither: Dither = True,
    gps: Gps = True,
    diffuse_white: DiffuseWhite = None,
    peak: Peak = 1000.0,
    gain_map: GainMap = "exact",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tone-maps an HDR file into a picture; --op all: into a sheet of every operator's."""
    console = Console(quiet=quiet, as_json=as_json)
    check_input(image)
    check_output(output, PICTURE_SUFFIXES, [image])
    form = PictureFormat(
        hdr=hdr,
        depth=depth,
        quality=quality,
        dither=dither,
        diffuse_white=diffuse_white,
        peak=peak,
        gain_map=gain_map,
    )
    form.check(output)
    config = tonemap_config(op, settings, exposure, colour, saturation, key=key, white=white)
    if config.operator == ALL and (form.is_hdr(output) or form.bits(output) != 8):
        raise UsageError(
            "The contact sheet is an ordinary picture of 8 bits a value.",
            "Write .jpg, .png or .tif, without --hdr and --depth.",
        )
    shown = tonemap_file(image, output, config=config, form=form, gps=gps, console=console)
    if as_json:
        console.product_json({"output": str(output), "operator": config.operator, **shown})
    else:
        console.say(f"Wrote {output}{describe_hdr(shown)}.")


def tonemap_file(
    image: Path,
    output: Path,
    *,
    config: TonemapConfig,
    form: PictureFormat,
    gps: bool,
    console: Console,
) -> dict[str, Any]:
    """Read, map and write; returns what ``write_picture`` decided for an HDR screen."""
    from hdrmerge import io
    from hdrmerge.frames import to_float
    from hdrmerge.picture import write_picture
    from hdrmerge.tonemap import contact_sheet, count_bad

    wake_compiler(console)
    pixels, facts = io.read_stored_radiance(image)
    bad = count_bad(pixels)
    if bad:
        console.warn(
            f"{image} has {bad} values that are not finite numbers; NaN is shown black and "
            "infinity as the brightest value."
        )
    settings = io.settings_of(facts["attributes"])
    if config.operator == ALL:
        unit = settings.saturation_luminance
        io.write_display(output, contact_sheet(to_float(pixels), config, unit=unit))
        return {}
    if not gps:
        settings = replace(settings, location=None)
    return write_picture(output, pixels, config, form, settings)


def describe_hdr(shown: dict[str, Any]) -> str:
    """What ``write_picture`` decided, for people; empty for an ordinary picture."""
    if not shown:
        return ""
    return (
        f": radiance {shown['diffuse_white']:.3g} is shown at 203 cd/m2, and "
        f"{shown['clipped']:.1%} of the pixels are brighter than {shown['peak']:g}"
    )
