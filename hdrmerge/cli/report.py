"""The merge's report as people read it: after ``fuse`` on stderr, from ``info`` on stdout."""

from __future__ import annotations

from hdrmerge.cli.console import Console
from hdrmerge.report import MergeReport

_UNCERTAIN = 0.05  # stops


def show_report(report: MergeReport, console: Console, *, product: bool = False) -> None:
    """The table of frames and the notes; ``product`` sends them to stdout."""
    tell = console.product if product else console.say
    header = ("frame", "EXIF", "measured", "used", "alignment", "clipped", "rejected")
    rows = [
        (
            f"{row.file}{' *' if row.file == report.reference else ''}",
            _stops(row.exif_stops),
            _stops(row.measured_stops) + _error(row.measured_error),
            _stops(row.used_stops),
            row.alignment,
            f"{100 * row.clipped:.1f} %",
            "-" if row.rejected is None else f"{100 * row.rejected:.1f} %",
        )
        for row in report.frames
    ]
    console.table(header, rows, product=product)
    tell("* the reference; EXIF, measured and used exposures in stops from it")
    for row in report.frames:
        if row.alignment_note and row.file != report.reference:
            tell(f"{row.file}: {row.alignment_note}")
    tell(
        f"exposures: {report.exposure_source}; response: {report.response_note or report.response}"
    )
    network = f" ({report.model})" if report.model else ""
    parts = [f"deghosting: {report.deghost}{network}"]
    if report.refined is not None:
        parts.append(f"refined: {100 * report.refined:.1f} %")
    if report.clipped_everywhere is not None:
        parts.append(f"clipped in every frame: {100 * report.clipped_everywhere:.2f} %")
    tell("; ".join(parts))
    for warning in report.warnings:
        console.warn(warning)


def _error(value: float | None) -> str:
    """Where exposures are usually known to a hundredth, what is not says so."""
    return f" ± {value:.2f}" if value is not None and value >= _UNCERTAIN else ""


def _stops(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
