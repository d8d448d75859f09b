"""``hdrmerge info``: what an HDR file says of itself, or what a merge of photographs would do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.fuse import HDR_SUFFIXES, show_report
from hdrmerge.cli.options import Json, Quiet, expand_paths
from hdrmerge.config import MergeConfig
from hdrmerge.errors import UsageError

if TYPE_CHECKING:
    from hdrmerge.frames import Frame
    from hdrmerge.report import MergeReport


def info(
    files: Annotated[
        list[str], typer.Argument(help="One HDR file, or the photographs of a bracket.")
    ],
    stats: Annotated[
        bool, typer.Option("--stats", help="HDR file: read the pixels too, for range and extremes.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Shows what an HDR file holds, or what fusing these photographs would do."""
    console = Console(quiet=quiet, as_json=as_json)
    paths = expand_paths(files)
    radiance = [path for path in paths if path.suffix.lower() in HDR_SUFFIXES]
    if radiance and len(paths) > 1:
        raise UsageError(
            "Name one HDR file, or the photographs of one bracket, not a mixture.",
            f"For example: hdrmerge info {radiance[0]}",
        )
    if radiance:
        describe_radiance(radiance[0], stats=stats, console=console)
    else:
        describe_photographs(paths, console=console)


def describe_radiance(path: Path, *, stats: bool, console: Console) -> None:
    """Header, report and, if asked for, statistics of the pixels."""
    from hdrmerge import io

    facts = io.read_header(path)
    report = facts.pop("report", None)
    if stats:
        facts["statistics"] = pixel_statistics(path)
    if console.as_json:
        console.product_json({"file": str(path), **facts, "report": report})
        return
    console.product(f"{path}")
    for name, value in facts.items():
        if isinstance(value, dict):
            console.product(f"  {name}")
            for key, inner in value.items():
                console.product(f"    {key}: {_plain(inner)}")
        else:
            console.product(f"  {name}: {_plain(value)}")


def describe_photographs(paths: list[Path], *, console: Console) -> None:
    """The exposures that the files state, and what a merge would make of them."""
