"""Options that say how a picture is written, shared by the commands that write one."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

PICTURE = "Picture file"

Hdr = Annotated[
    bool,
    typer.Option(
        "--hdr",
        help="For an HDR screen: a JPEG gets a gain map (Ultra HDR), a PNG becomes PQ; .avif and "
        ".jxl always are.",
        rich_help_panel=PICTURE,
    ),
]
Depth = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        help="Bits a value: 8 or 16 for PNG and TIFF, 10 or 12 for AVIF; default: the first.",
        rich_help_panel=PICTURE,
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(
        metavar="1..100",
        help="Of JPEG (default 95), AVIF and JPEG XL (90).",
        rich_help_panel=PICTURE,
    ),
]
Dither = Annotated[
    bool,
    typer.Option(help="Dither 8 bits, so that skies show no bands.", rich_help_panel=PICTURE),
]
Gps = Annotated[
    bool,
    typer.Option(
        help="Keep where the photograph was taken in the file's metadata.", rich_help_panel=PICTURE
    ),
]
DiffuseWhite = Annotated[
    float | None,
    typer.Option(
        metavar="RADIANCE",
        help="HDR screens: the radiance shown at 203 cd/m2, as a white sheet; default: the middle "
        "is as bright as in the tone-mapped picture.",
        rich_help_panel=PICTURE,
    ),
]
Peak = Annotated[
    float,
    typer.Option(
        metavar="CD/M2",
        help="HDR screens: what would be brighter is clipped; at most 10000.",
        rich_help_panel=PICTURE,
    ),
]
GainMap = Annotated[
    Literal["exact", "small"],
    typer.Option(
        help="Of an Ultra HDR JPEG: exact, or a few percent of the file.", rich_help_panel=PICTURE
    ),
]
