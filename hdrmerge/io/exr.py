"""OpenEXR: scene-linear radiance with the metadata that photographs and compositors know.

Attributes are OpenEXR's standard ones (exposure time, aperture, chromaticities, ...) and a few of
our own under ``hdrmerge:``; the report travels as JSON.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import InputError, OutputError, UsageError
from hdrmerge.frames import (
    HALF_MAX,
    REC709_CHROMATICITIES,
    CaptureSettings,
    FloatArray,
    HalfArray,
    RadianceMap,
    to_float,
    to_half,
)
from hdrmerge.io.atomic import atomic_path
from hdrmerge.io.detect import enough_memory
from hdrmerge.io.exr_header import NAMES, REPORT, colour_group, damaged, headers_of, library
from hdrmerge.io.metadata import attributes_of
from hdrmerge.report import MergeReport

_HALF_MAX_BITS = 0x7BFF
COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")
_READING = threading.Lock()


def write_exr(
    path: Path,
    radiance: RadianceMap,
    report: MergeReport | None = None,
    settings: CaptureSettings | None = None,
    *,
    float32: bool = False,
    compression: str = "piz",
    ready: Callable[[], object] = lambda: None,
) -> int:
    """Write a radiance map atomically, in half floats or with ``float32`` in full.

    ``piz`` packs photographs' noise in half the time of ``zip`` into a seventh less. ``ready`` is
    called, and may raise, before the file takes its name.

    Returns how many values exceeded half's maximum of 65504 and were clipped to it. Raises
    OutputError where the file cannot be written, UsageError for an unknown compression.
    """
    OpenEXR = library()

    if compression not in COMPRESSIONS:
        raise UsageError(
            f"There is no EXR compression {compression!r}.", f"Use {', '.join(COMPRESSIONS)}."
        )
    pixels: Any = np.ascontiguousarray(radiance.pixels if float32 else radiance.stored)
    clipped = 0
    if pixels.dtype == np.float16:
        bits = pixels.view(np.uint16)
        if bits.max(initial=0) >= _HALF_MAX_BITS:  # asked first, since counting takes memory
            clipped = int(np.count_nonzero(bits >= _HALF_MAX_BITS))
    elif not float32:
        clipped = int(np.count_nonzero(pixels > HALF_MAX))
        pixels = to_half(pixels)
    header = {
        "type": OpenEXR.scanlineimage,
        "compression": getattr(
            OpenEXR, f"{NAMES.get(compression, compression).upper()}_COMPRESSION"
        ),
        **_attributes(report, settings or CaptureSettings()),
    }
    if clipped:
        header["hdrmerge:clippedToHalf"] = clipped
    with atomic_path(path) as temporary:
        try:
            OpenEXR.File(header, {"RGB": OpenEXR.Channel(pixels)}).write(str(temporary))
        except RuntimeError as error:
            if "No space left" in str(error):
                raise OSError(errno.ENOSPC, "No space left on device") from error
            raise OutputError(f"{path} cannot be written: {error}.") from error
        ready()
    return clipped


def _attributes(report: MergeReport | None, settings: CaptureSettings) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "chromaticities": REC709_CHROMATICITIES,
        "colorInteropID": "lin_rec709_scene",
        "adoptedNeutral": np.array(REC709_CHROMATICITIES[6:], np.float32),
        **attributes_of(settings),
    }
    if report is not None:
        attributes |= {
            "software": f"hdrmerge {report.version}".strip(),
            "comments": f"{len(report.frames)} photographs merged; reference {report.reference}",
            "hdrmerge:exposureOffset": float(report.exposure_offset),
            "hdrmerge:weights": report.weights_sha256,
            REPORT: report.to_json(seconds=False),
        }
    return {name: value for name, value in attributes.items() if value is not None}


def read_exr(path: Path) -> tuple[FloatArray, dict[str, Any]]:
    """``read_stored_exr`` in float32."""
    pixels, header = read_stored_exr(path)
    with enough_memory(path):
        return to_float(pixels), header


def read_stored_exr(path: Path) -> tuple[FloatArray | HalfArray, dict[str, Any]]:
    """(pixels, header): the data window as (H, W, 3) and the attributes by name.

    Half floats stay: a quarter of the time, and half the memory. Values are as stored, NaN and
    infinity included, in the file's own primaries. A part with only one channel becomes grey; alpha
    and other channels are left out. Raises InputError for what is damaged, deep, subsampled
    (luminance-chroma) or without colour.
    """
    parts = headers_of(path)
    index, group = colour_group(parts, path)
    with enough_memory(path):
        pixels = _pixels(path, len(parts), index, group)
        channels = 3 if pixels.shape[2] >= 3 else 1
        colour = np.broadcast_to(pixels[..., :channels], (*pixels.shape[:2], 3))
        kind = np.float16 if colour.dtype == np.float16 else np.float32
        kept: Any = np.ascontiguousarray(colour, dtype=kind)
        return kept, parts[index]


def _pixels(path: Path, parts: int, index: int, group: str) -> NDArray[Any]:
    """(H, W, C) of one channel group of part ``index``, of the ``parts`` that the header lists."""
    OpenEXR = library()

    chatter = io.StringIO()  # OpenEXR prints that pixels are damaged, and then leaves out the part
    try:
        # one at a time: two that overlap would leave the process's output silent for good
        with _READING, contextlib.redirect_stdout(chatter), _without_complaints(path):
            file = OpenEXR.File(str(path))
        if len(file.parts) < parts:
            raise damaged(path, chatter.getvalue().partition(" - ")[2] or "its pixels are damaged")
        pixels: NDArray[Any] = file.channels(index)[group].pixels
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise damaged(path, error) from None
    return pixels[..., None] if pixels.ndim == 2 else pixels


@contextlib.contextmanager
def _without_complaints(path: Path) -> Iterator[None]:
    """Holds back what OpenEXR's C library says of ``path`` on the process's stderr: the error that
    is raised says it once. What others say meanwhile is passed on."""
    try:
        stderr = os.dup(2)
    except OSError:  # the process has none
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not line.startswith(os.fsencode(path) + b": (EXR_ERR"):
                    os.write(2, line)
