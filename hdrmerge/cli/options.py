"""Options that several commands share, and the turning of arguments into paths."""

from __future__ import annotations

import glob
import os
import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from hdrmerge import config
from hdrmerge.cli.console import Console
from hdrmerge.errors import InputError, OutputError, UsageError

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout, for programs.")
]

HDR_SUFFIXES = (".exr", ".hdr")
DISPLAY_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")  # what io.write_display writes

# panels of the help, and the options of a merge that `fuse`, `batch` and `watch` share
FILES = "Files"
EXPOSURE = "Exposure and response"
GHOSTS = "Alignment and ghosts"

Device = Annotated[
    config.Device, typer.Option(help="Where networks run; auto takes a GPU if there is one.")
]
Tile = Annotated[
    int | None,
    typer.Option(min=64, help="Side of a network tile in pixels; smaller needs less memory."),
]
Float32 = Annotated[
    bool, typer.Option("--float32", help="32 bits a value instead of 16.", rich_help_panel=FILES)
]
Compression = Annotated[
    Literal["none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab"] | None,
    typer.Option(
        metavar="NAME",
        help="Of the EXR: none, rle, zips, zip, piz (the default), pxr24, b44, b44a, dwaa or dwab.",
        rich_help_panel=FILES,
    ),
]
Response = Annotated[
    str,
    typer.Option(
        metavar="RESPONSE",
        help="How the camera turned light into codes: auto, srgb, linear, gamma:2.2, estimate "
        "from the bracket, or a saved JSON file.",
        rich_help_panel=EXPOSURE,
    ),
]
Align = Annotated[bool, typer.Option(help="Align the frames.", rich_help_panel=GHOSTS)]
Deghost = Annotated[
    config.Deghost,
    typer.Option(
        help="How ghosts of moving things are found and left out: classic compares the frames; "
        "auto and network also take out the noise that this leaves, by a small network; off "
        "leaves them in.",
        rich_help_panel=GHOSTS,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Network to deghost with: refiner (the default), decider, ahdrnet, sk-ahdrnet or "
        "another that there are weights for.",
        rich_help_panel=GHOSTS,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="WEIGHTS",
        help="The network's weights: a name, a .safetensors file, or hf:OWNER/REPO.",
        rich_help_panel=GHOSTS,
    ),
]
Refine = Annotated[
    bool,
    typer.Option(
        help="Take out the noise that rejected frames leave (with --deghost auto or network).",
        rich_help_panel=GHOSTS,
    ),
]


def expand_paths(arguments: list[str]) -> list[Path]:
    """Paths of existing files; a pattern in quotes (or on Windows) is expanded and sorted.

    Raises InputError for a missing file, a folder, or a pattern that matches nothing.
    """
    paths: list[Path] = []
    for argument in arguments:
        if not os.path.lexists(argument) and glob.has_magic(argument):
            matches = sorted(glob.glob(argument))  # noqa: PTH207 (absolute patterns too)
            if not matches:
                raise InputError(
                    f"No file matches {argument}.", "Check the folder and the file extension."
                )
            paths.extend(Path(match) for match in matches)
        else:
            paths.append(Path(argument))
    for path in paths:
        check_input(path)
    return paths


def photographs(paths: list[Path], console: Console) -> list[Path]:
    """``paths`` without pictures that hdrmerge made of others: a pattern that named a bracket once
    names the preview beside it the next time. Where there is nothing else they stay."""
    from hdrmerge.io.exif import read_shot

    def made_here(path: Path) -> bool:
        with path.open("rb") as file:
            return read_shot(file).made_here

    own = [path for path in paths if made_here(path)]
    if len(own) == len(paths):
        return paths
    for path in own:
        console.warn(f"{path} was left out: hdrmerge made it, it is no photograph.")
    return [path for path in paths if path not in own]


def check_input(path: Path) -> None:
    """Raise unless ``path`` is an existing, readable file."""
    if path.is_dir():
        files = shlex.quote(str(path / "*.jpg"))
        raise InputError(
            f"{path} is a folder, not a file.",
            f"Name files, for example {files}; `hdrmerge batch` takes folders.",
        )
    if not path.exists():
        raise InputError(f"{path} does not exist.", "Check the spelling and the current folder.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read.", "Check the file's permissions.")


def check_output(path: Path, suffixes: tuple[str, ...], inputs: list[Path]) -> None:
    """Raise before any work is done if ``path`` could not be written in the end.

    ``suffixes`` are those allowed (lower case); ``inputs`` are files that must survive.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder.", "Name a file.")
    if path.suffix.lower() not in suffixes:
        listed = ", ".join(suffixes)
        named = f"ends in {path.suffix}" if path.suffix else "has no extension"
        raise UsageError(f"{path} {named}, which cannot be written here.", f"Use one of {listed}.")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(
            f"The folder {folder} does not exist.",
            f"Make it first: mkdir -p {shlex.quote(str(folder))}",
        )
    if not os.access(folder, os.W_OK):
        raise OutputError(
            f"The folder {folder} may not be written to.", "Choose another folder for the output."
        )
    if any(path.exists() and source.samefile(path) for source in inputs if source.exists()):
        raise UsageError(f"{path} is one of the inputs.", "Choose another name for the output.")


def check_compression(compression: str | None, float32: bool, suffix: str) -> str:
    """The EXR's compression; raises UsageError for options of the EXR where it is another file."""
    given = [name for name, value in (("compression", compression), ("float32", float32)) if value]
    if given and suffix.lower() != ".exr":
        raise UsageError(
            f"--{given[0]} is about EXR files, and {suffix} has no such choice.",
            "Leave it out, or write .exr.",
        )
    return compression or "piz"


def check_new_folder(folder: Path) -> None:
    """Raise before any work is done if ``folder`` could neither be used nor made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        what = "is a file" if there == folder else f"cannot be made: {there} is a file"
        raise OutputError(f"{folder} {what}.", "Name a folder.")
    if not os.access(there, os.W_OK):
        raise OutputError(f"The folder {there} may not be written to.", "Choose another folder.")


def make_folder(folder: Path) -> None:
    """Make a folder where it is absent; raises OutputError also where it may not be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made: {error.strerror}.", "Choose another folder."
        ) from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"The folder {folder} may not be written to.", "Choose another folder.")


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Numbers separated by commas or spaces; fractions such as 1/60 are understood."""
    numbers = []
    for word in text.replace(",", " ").split():
        numerator, _, denominator = word.partition("/")
        try:
            value = float(numerator) / (float(denominator) if denominator else 1.0)
        except (ValueError, ZeroDivisionError):
            value = float("nan")
        if not abs(value) < float("inf"):
            raise UsageError(
                f"{option} does not understand {word!r}.",
                "Separate the numbers by commas, for example -2,0,+2 or 1/60,1/15,1/4.",
            )
        numbers.append(value)
    return tuple(numbers)


def choose_reference(choice: str | None, paths: list[Path]) -> int | None:
    """Index of the file that ``--reference`` names, by name or by place (the first is 1)."""
    if choice is None:
        return None
    names = [path.name for path in paths]
    if names.count(Path(choice).name) == 1:
        return names.index(Path(choice).name)
    if choice.isdecimal() and 1 <= int(choice) <= len(paths):
        return int(choice) - 1
    raise UsageError(
        f"--reference {choice} is none of the photographs.",
        f"Give the name of one of them, or its place from 1 to {len(paths)}.",
    )
