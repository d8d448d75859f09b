"""What a batch hands to a worker and gets back: plain data that travels between processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hdrmerge import __version__
from hdrmerge.config import MergeConfig, TonemapConfig
from hdrmerge.io.dimensions import read_dimensions
from hdrmerge.picture import PictureFormat

Product = Literal["radiance", "preview", "ghost_map", "report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """What is written for each bracket beside the radiance; None and False: not asked for.

    ``format`` and ``preview`` are suffixes without dot; ``tonemap`` and ``form`` make the preview.
    ``gps``: files say where the photograph was taken.
    """

    format: str = "exr"
    float32: bool = False
    compression: str = "piz"
    preview: str | None = None
    ghost_map: bool = False
    report: bool = False
    tonemap: TonemapConfig = field(default_factory=TonemapConfig)
    form: PictureFormat = field(default_factory=PictureFormat)
    gps: bool = True

    @property
    def half(self) -> bool:
        """Whether the HDR file holds half floats."""
        return self.format == "exr" and not self.float32

    def suffixes(self) -> dict[Product, str]:
        """What follows a bracket's name in each file that is asked for."""
        found: dict[Product, str] = {"radiance": f".{self.format}"}
        if self.preview:
            found["preview"] = f".{self.preview}"
        if self.ghost_map:
            found["ghost_map"] = ".ghosts.png"
        if self.report:
            found["report"] = ".json"
        return found

    def digests(self, config: MergeConfig, weights: str | None) -> dict[Product, str]:
        """What each file depends on beside the photographs, as a SHA-256 a product.

        ``weights``: their SHA-256 where a network is used. A saved response counts by its content,
        and the program by its version.
        """
        asked = dataclasses.asdict(config)
        if weights:
            asked["weights"] = asked["model"] = weights
        if Path(config.response).is_file():
            asked["response"] = file_sha256(Path(config.response))
        merge = _digest(__version__, asked)
        coding = self.compression if self.format == "exr" else None
        radiance = _digest(merge, self.format, self.float32, coding, self.gps)
        return {
            "radiance": radiance,
            "preview": _digest(
                radiance,
                self.preview,
                dataclasses.asdict(self.tonemap),
                dataclasses.asdict(self.form),
            ),
            "ghost_map": _digest(merge, "ghost_map"),
            "report": _digest(merge, "report"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One bracket to merge: ``files`` absolute, ``stage`` a folder of its own to write into.

    ``make``: the products wanted now; with the preview alone, ``radiance`` is the file to make it
    from. ``pixels`` of all frames together; ``memory``: bytes that merging it is expected to need
    beside the program itself. ``weights``: their SHA-256 where a network is used.
    """

    name: str
    files: tuple[str, ...]
    stage: str
    config: MergeConfig
    products: Products
    make: tuple[Product, ...]
    radiance: str | None = None
    pixels: int = 0
    memory: int = 0
    weights: str | None = None
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Input:
    """A photograph as it was when it was merged."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An exit code, a sentence, what to do about it, and for a defect where it arose.

    ``died``: it lacked memory or its worker ended, so that another attempt alone may succeed;
    ``full``: the disk is full, so that no other would.
    """

    code: int
    message: str
    hint: str | None = None
    traceback: str | None = None
    died: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a job: ``staged`` names the files below the job's stage, by product.

    ``report`` is the merge's, ``card`` what the contact sheet shows (both None where only the
    preview was made anew); ``peak`` bytes of resident memory, 0 where unknown.
    """

    failure: Failure | None = None
    inputs: tuple[Input, ...] = ()
    staged: dict[Product, str] = field(default_factory=dict)
    report: dict[str, Any] | None = None
    card: dict[str, Any] | None = None
    seconds: float = 0.0
    peak: int = 0


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Bytes that a merge needs beside its frames, measured (tests/benchmarks/batch.py --memory):
_RESULT = 7  # a pixel: the radiance, and what it is compressed in
_PROXY = 42  # a pixel of each frame's proxy, while ghosts are looked for
_REST = 150 << 20  # bands of rows, the refiner's tiles, freed blocks that are kept
_MOSAIC = 14  # a pixel, while two RAW files are developed
_MARGIN = 1.1
_UNKNOWN_PIXELS = 50_000_000  # of a frame whose header says nothing


def estimate(files: tuple[str, ...]) -> tuple[int, int]:
    """(pixels of all frames, bytes of memory) that a bracket takes, by its first file's header."""
    size = read_dimensions(Path(files[0]))
    pixels = size.pixels if size else _UNKNOWN_PIXELS
    frames = 3 * (size.depth if size else 2) * pixels * len(files)
    proxies = _PROXY * min(pixels, MergeConfig().proxy_pixels) * len(files)
    mosaic = _MOSAIC * pixels if size and size.mosaic else 0
    needed = frames + max(_RESULT * pixels + _REST, proxies, mosaic)
    return pixels * len(files), int(needed * _MARGIN)


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
