"""``hdrmerge simulate``: photographs a known scene as a bracket and keeps the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hdrmerge.cli.console import Console, Progress
from hdrmerge.cli.options import Json, Quiet, check_input, parse_numbers
from hdrmerge.errors import OutputError, UsageError

if TYPE_CHECKING:
    from hdrmerge.simulate import SimulatedBracket, SimulationConfig

FileFormat = Literal["jpg", "png8", "png16", "tif16", "dng"]
Fault = Literal["none", "missing", "same-time", "zero", "rounded", "no-f-number"]


def simulate(
    scene: Annotated[
        str, typer.Argument(metavar="SCENE", help="HDR file (.exr, .hdr), or `room`: made up.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the bracket.")],
    stops: Annotated[str, typer.Option(help="Exposure of each frame in stops.")] = "-3,0,3",
    noise: Annotated[
        float, typer.Option(help="Electrons at saturation: 1500 is noisy, 20000 clean.")
    ] = 6000.0,
    read_noise: Annotated[float, typer.Option(help="Read noise in electrons.")] = 4.0,
    response: Annotated[
        str, typer.Option(help="Camera response: srgb, linear, gamma:2.2, scurve:0.55.")
    ] = "srgb",
    shake: Annotated[
        float,
        typer.Option(help="Hand shake; 1 turns by up to 1 degree and shifts by up to 15 pixels."),
    ] = 0.0,
    motion: Annotated[
        int, typer.Option(help="Moving objects; in `room`, 1 is somebody walking through.")
    ] = 0,
    file_format: Annotated[FileFormat, typer.Option("--format", help="Files to write.")] = "jpg",
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality.")] = 95,
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT of the frames; default: the scene's.")
    ] = None,
    percentile: Annotated[
        float,
        typer.Option(min=0, max=100, help="Of the scene, what the shortest frame must not clip."),
    ] = 99.9,
    reference: Annotated[
        int | None, typer.Option(help="Frame whose view the truth has, from 0; default: nearest 0.")
    ] = None,
    exif: Annotated[Fault, typer.Option(help="What is wrong with the EXIF.")] = "none",
    auto_iso: Annotated[
        float, typer.Option(help="Share of each shutter step that auto-ISO undoes, 0 to 1.")
    ] = 0.0,
    orientation: Annotated[int, typer.Option(min=1, max=8, help="EXIF orientation.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Photographs a known scene as a bracket and writes the truth beside it."""
    from hdrmerge.simulate import MotionConfig, SimulationConfig

    console = Console(quiet=quiet, as_json=as_json)
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file.", "Name a folder.")
    config = SimulationConfig(
        stops=parse_numbers(stops, "--stops"),
        reference=reference,
        saturation_percentile=percentile,
        response=response,
        full_well=noise,
        read_noise=read_noise,
        format=file_format,
        jpeg_quality=quality,
        shake_rotation=shake,
        shake_shift=15 * shake,
        shake_perspective=2 * shake,
        motion=MotionConfig(0 if scene == "room" else motion),
        exif=exif,
        auto_iso_hold=auto_iso,
        orientation=orientation,
        size=parse_size(size),
    )
    with console.progress() as progress:
        bracket = simulate_scene(
            scene, config, seed=seed, walking=motion > 0, progress=progress or _silent
        )
    from hdrmerge.simulate.write import write_bracket

    paths = write_bracket(bracket, output, facts={"scene": Path(scene).name, "seed": seed})
    if as_json:
        console.product_json(
            {
                "frames": [str(path) for path in paths],
                "truth": str(output / "truth.exr"),
                "stops": bracket.stops,
                "reference": bracket.reference,
                "moving": float(bracket.motion.mean()),
            }
        )
        return
    console.table(
        ("frame", "stops", "clipped"),
        [
            (path.name, f"{bracket.stops[k]:+.2f}", f"{100 * bracket.clipped[k].mean():.1f} %")
            for k, path in enumerate(paths)
        ],
    )
    console.say(f"Wrote {len(paths)} frames, the truth and {output / 'scene.json'}.")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of ``WIDTHxHEIGHT``; raises UsageError."""
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"--size does not understand {text!r}.", "Write, for example, 1500x1000.")
    return int(height), int(width)


def simulate_scene(
    scene: str, config: SimulationConfig, *, seed: int, walking: bool, progress: Progress
) -> SimulatedBracket:
    """Render a bracket of a file or of the made-up ``room``, large enough for the shake."""
    import numpy as np

    from hdrmerge.simulate import render_bracket
    from hdrmerge.simulate.geometry import shake_margin

    rng = np.random.default_rng(seed)
    if scene != "room":
        from hdrmerge.io import read_radiance

        check_input(Path(scene))
        pixels, _ = read_radiance(Path(scene))
        if not np.isfinite(pixels).all():
            pixels = np.nan_to_num(pixels, nan=0.0, posinf=65504.0, neginf=0.0)
        return render_bracket(np.maximum(pixels, 0), config, rng)
    from hdrmerge.simulate.room import room

    height, width = config.size or (600, 900)
    shake = (config.shake_rotation, config.shake_shift, config.shake_perspective)
    margin = shake_margin(height, width, *shake, config.parallax)
    view = (height + 2 * margin, width + 2 * margin)
    count = len(config.stops) if walking else 1
    moments = [
        room(
            *view,
            phase=k - (count - 1) / 2 if walking else None,
            progress=lambda done, k=k: progress("trace", (k + done) / count),  # type: ignore[misc]
        )
        for k in range(count)
    ]
    return render_bracket(moments if walking else moments[0], config, rng)


def _silent(stage: str, fraction: float) -> None:
    """Progress where nobody is watching."""
