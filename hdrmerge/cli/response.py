"""``hdrmerge response``: the camera's response, found in a bracket and saved for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import (
    DISPLAY_SUFFIXES,
    Json,
    Quiet,
    check_output,
    expand_paths,
    parse_numbers,
    photographs,
)
from hdrmerge.config import MergeConfig

if TYPE_CHECKING:
    from hdrmerge.calibrate import Calibration

Method = Literal["estimate", "debevec"]


def response(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="The photographs of one bracket, in any order."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Save the response here, as .json for --response of fuse."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the curve here: .png, .jpg or .tif.")
    ] = None,
    method: Annotated[
        Method,
        typer.Option(
            help="estimate: most likely curve among those of cameras; debevec: Debevec and Malik "
            "1997, which knows nothing of cameras."
        ),
    ] = "estimate",
    ev: Annotated[
        str | None,
        typer.Option(
            metavar="STOPS",
            help="Exposure of each file in stops, such as -2,0,+2; overrides EXIF.",
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="Exposure time of each file, such as 1/60,1/15,1/4; overrides EXIF.",
        ),
    ] = None,
    align: Annotated[bool, typer.Option(help="Align the frames.")] = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Finds the camera's response in a bracket; fuse then takes it for the camera's other shots.

    Best done once, with a tripod, on a scene with all tones; the exposures must be known.
    """
    console = Console(quiet=quiet, as_json=as_json)
    paths = photographs(expand_paths(files), console)
    if output is not None:
        check_output(output, (".json",), paths)
    if plot is not None:
        check_output(plot, DISPLAY_SUFFIXES, paths)
    config = MergeConfig(
        ev=parse_numbers(ev, "--ev") if ev else None,
        times=parse_numbers(times, "--times") if times else None,
        response=method,
        align=align,
    )
    calibration = find_response(paths, config, console)
    if output is not None:
        from hdrmerge.response import write_response

        write_response(calibration.stack.response, output)
        console.say(f"{output}: the response of the camera")
    if plot is not None:
        from hdrmerge.io import write_display
        from hdrmerge.response_plot import plot_response

        write_display(plot, plot_response(calibration.stack.response))
        console.say(f"{plot}: its curve")
    show_response(calibration, console)


def find_response(paths: list[Path], config: MergeConfig, console: Console) -> Calibration:
    """Read, order, align and calibrate the bracket.

    Raises StackError where the frames are linear or overlap too little for an estimate.
    """
    from hdrmerge import io
    from hdrmerge.errors import StackError
    from hdrmerge.pipeline import prepare_stack

    with console.progress() as progress:
        frames = io.read_frames(paths, progress=progress)
        if any(frame.encoding == "linear" for frame in frames):
            raise StackError(
                "These photographs are linear: there is no camera response to find.",
                "RAW files need none; give the camera's JPEGs.",
            )
        _, calibration, _ = prepare_stack(frames, config)
    if not calibration.stack.response.name.startswith("estimated"):
        raise StackError(
            f"The response could not be estimated ({calibration.response_note}).",
            "Use a bracket in whose frames mid-tones overlap, of a scene that stands still.",
        )
    return calibration


def show_response(calibration: Calibration, console: Console) -> None:
    """The exposures it was found with, and the curve in steps of 16 codes or as JSON."""
    import numpy as np

    found = calibration.stack.response
    frames = [frame.path.name for frame in calibration.stack.frames]
    used = [float(stops) for stops in np.log2(calibration.stack.exposures)]
    if console.as_json:
        console.product_json(
            {
                "name": found.name,
                "note": calibration.response_note,
                "exposure_source": calibration.source,
                "frames": [
                    {"file": name, "exif_stops": exif, "measured_stops": measured, "stops": stops}
                    for name, exif, measured, stops in zip(
                        frames,
                        calibration.exif_stops,
                        calibration.measured_stops,
                        used,
                        strict=True,
                    )
                ],
                "curve": [[float(v) for v in column] for column in found.curve.T],
                "warnings": list(calibration.warnings),
            }
        )
        return
    rows = [
        (name, *("-" if s is None else f"{s:+.2f}" for s in stops))
        for name, *stops in zip(
            frames, calibration.exif_stops, calibration.measured_stops, used, strict=True
        )
    ]
    console.table(("frame", "EXIF", "measured", "used"), rows)
    codes = np.append(np.arange(16, 256, 16), 255)
    at = np.linspace(0, 255, len(found.curve))
    exposure = np.stack([np.interp(codes, at, found.curve[:, c]) for c in range(3)], axis=1)
    console.table(
        ("code", "red", "green", "blue"),
        [
            (str(code), *(f"{v:.5f}" for v in row))
            for code, row in zip(codes, exposure, strict=True)
        ],
    )
    console.say(f"response: {calibration.response_note}")
    for warning in calibration.warnings:
        console.warn(warning)
