"""``hdrmerge info``: what an HDR file says of itself, or what a merge of photographs would do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import Json, Quiet, expand_paths, photographs
from hdrmerge.cli.report import show_report
from hdrmerge.config import MergeConfig
from hdrmerge.errors import UsageError
from hdrmerge.report import MergeReport

if TYPE_CHECKING:
    from hdrmerge.frames import Frame


def info(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="One HDR file, or the photographs of a bracket."),
    ],
    stats: Annotated[
        bool, typer.Option("--stats", help="HDR file: read the pixels too, for range and extremes.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Shows what an HDR file holds, or what fusing these photographs would do."""
    console = Console(quiet=quiet, as_json=as_json)
    paths = photographs(expand_paths(files), console)
    radiance = [path for path in paths if holds_radiance(path)]
    if radiance and len(paths) > 1:
        raise UsageError(
            "Name one HDR file, or the photographs of one bracket, not a mixture.",
            f"For example: hdrmerge info {radiance[0]}",
        )
    if radiance:
        describe_radiance(radiance[0], stats=stats, console=console)
    else:
        describe_photographs(paths, console=console)


def holds_radiance(path: Path) -> bool:
    """Whether the file's content is an HDR picture; raises InputError if it is no picture."""
    from hdrmerge.io.detect import detect, open_input

    with open_input(path) as file:
        return detect(file, path) in ("exr", "hdr", "pfm")


def describe_radiance(path: Path, *, stats: bool, console: Console) -> None:
    """Header, the merge's report where there is one, and statistics if they were asked for."""
    from hdrmerge import io

    facts = io.read_header(path)
    stored = facts.pop("report", None)
    attributes = facts.pop("attributes", {})
    if stats:
        facts.update(pixel_statistics(path))
    if console.as_json:
        data = {"file": str(path), **facts, "attributes": attributes, "report": stored}
        console.product_json(data)
        return
    lines = {**facts, **attributes}
    width = max(len(name) for name in lines)
    for name, value in lines.items():
        console.product(f"{name:<{width}}  {_plain(value)}")
    if stored is not None:
        console.product("")
        show_report(MergeReport.from_dict(stored), console, product=True)


def pixel_statistics(path: Path) -> dict[str, Any]:
    """Smallest and largest value, what is not finite, and the range of luminance in stops.

    ``dynamic_range_stops`` is log2 of the 99.9th over the 0.1st percentile of positive luminance.
    """
    import numpy as np

    from hdrmerge import io
    from hdrmerge.tonemap.colour import REC709_LUMINANCE

    pixels, _ = io.read_radiance(path)
    finite = np.isfinite(pixels)
    values = np.where(finite, pixels, 0)
    luminance = values @ REC709_LUMINANCE
    positive = luminance[luminance > 0]
    stops = 0.0
    if positive.size:
        low, high = np.percentile(positive, (0.1, 99.9))
        stops = float(np.log2(high / low))
    return {
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "not_finite": int(finite.size - np.count_nonzero(finite)),
        "dynamic_range_stops": round(stops, 2),
    }


def describe_photographs(paths: list[Path], *, console: Console) -> None:
    """The exposures that the files state, and what a merge would make of them."""
    from hdrmerge import io
    from hdrmerge.pipeline import plan_stack

    with console.progress() as progress:
        frames = io.read_frames(paths, progress=progress)
        plan = plan_stack(frames, MergeConfig()) if len(frames) > 1 else None
    settings = [describe_settings(frame) for frame in frames]
    if console.as_json:
        console.product_json({"photographs": settings, "plan": plan and plan.to_dict()})
        return
    header = ("photograph", "size", "time", "f", "ISO", "EV100", "camera")
    rows = [
        (
            str(row["file"]),
            f"{row['width']} x {row['height']}",
            _time(row["exposure_time"]),
            _number(row["f_number"]),
            _number(row["iso"]),
            _number(row["ev100"]),
            row["camera"] or "-",
        )
        for row in settings
    ]
    console.table(header, rows, product=True)
    if plan is not None:
        console.product("")
        console.product("Fusing them would do this:")
        show_report(plan, console, product=True)


def describe_settings(frame: Frame) -> dict[str, Any]:
    """One photograph's size and capture settings; EV100 = log2(N^2 / t) - log2(S / 100)."""
    s = frame.settings
    ev100 = None
    if s.exposure_time and s.f_number and s.iso:
        ev100 = round(math.log2(s.f_number**2 / s.exposure_time) - math.log2(s.iso / 100), 2)
    camera = " ".join(part for part in (s.camera_make, s.camera_model) if part)
    return {
        "file": frame.path.name,
        "width": frame.shape[1],
        "height": frame.shape[0],
        "exposure_time": s.exposure_time,
        "f_number": s.f_number,
        "iso": s.iso,
        "ev100": ev100,
        "captured_at": s.captured_at.isoformat() if s.captured_at else None,
        "camera": camera or None,
        "lens": s.lens_model,
        "colour_space": frame.colour_space,
    }


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"1/{1 / seconds:.0f} s" if seconds < 0.3 else f"{seconds:g} s"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return " ".join(_plain(inner) for inner in value)
    return str(value)
