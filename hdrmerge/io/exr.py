"""OpenEXR: scene-linear radiance with the metadata that photographs and compositors know.

Attributes are OpenEXR's standard ones (exposure time, aperture, chromaticities, ...) and a few of
our own under ``hdrmerge:``; the report travels as JSON.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
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
from hdrmerge.io.detect import enough_memory, open_input
from hdrmerge.io.encoded import check_size
from hdrmerge.io.metadata import attributes_of
from hdrmerge.report import MergeReport
from hdrmerge.threads import coder_threads

_HALF_MAX_BITS = 0x7BFF
COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")
_MAX_RATIO = 20_000  # five times what DWAB makes of an all black picture, half floats to bytes
_NAMES = {"none": "no"}  # ours to OpenEXR's
_REPORT = "hdrmerge:report"
_READING = threading.Lock()


def _library() -> Any:
    """OpenEXR with its threads awake: it starts with none, and compresses at half the speed."""
    import OpenEXR

    OpenEXR.set_global_thread_count(coder_threads())
    return OpenEXR


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
    OpenEXR = _library()

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
            OpenEXR, f"{_NAMES.get(compression, compression).upper()}_COMPRESSION"
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
            _REPORT: report.to_json(seconds=False),
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
    parts = _headers(path)
    index, group = _colour_group(parts, path)
    with enough_memory(path):
        pixels = _pixels(path, len(parts), index, group)
        channels = 3 if pixels.shape[2] >= 3 else 1
        colour = np.broadcast_to(pixels[..., :channels], (*pixels.shape[:2], 3))
        kind = np.float16 if colour.dtype == np.float16 else np.float32
        kept: Any = np.ascontiguousarray(colour, dtype=kind)
        return kept, parts[index]


def _pixels(path: Path, parts: int, index: int, group: str) -> NDArray[Any]:
    """(H, W, C) of one channel group of part ``index``, of the ``parts`` that the header lists."""
    OpenEXR = _library()

    chatter = io.StringIO()  # OpenEXR prints that pixels are damaged, and then leaves out the part
    try:
        # one at a time: two that overlap would leave the process's output silent for good
        with _READING, contextlib.redirect_stdout(chatter), _without_complaints(path):
            file = OpenEXR.File(str(path))
        if len(file.parts) < parts:
            raise _damaged(path, chatter.getvalue().partition(" - ")[2] or "its pixels are damaged")
        pixels: NDArray[Any] = file.channels(index)[group].pixels
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(path, error) from None
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


def read_exr_header(path: Path) -> dict[str, Any]:
    """The attributes of the part that ``read_exr`` would read, without reading pixels."""
    parts = _headers(path)
    return parts[_colour_group(parts, path)[0]]


def exr_facts(header: dict[str, Any]) -> dict[str, Any]:
    """An EXR header in plain types: size, channels, compression, attributes, report."""
    width, height = _size(header)
    hidden = (
        "channels",
        "compression",
        "dataWindow",
        "displayWindow",
        "lineOrder",
        "type",
        _REPORT,
    )
    facts = {
        "format": "OpenEXR",
        "width": width,
        "height": height,
        "channels": ", ".join(sorted(c.name for c in header["channels"])),
        "compression": _compression_name(header["compression"]),
        "attributes": {k: _plain(v) for k, v in sorted(header.items()) if k not in hidden},
    }
    report = parse_report(header.get(_REPORT))
    return facts if report is None else {**facts, "report": report}


def _size(header: dict[str, Any]) -> tuple[int, int]:
    """(width, height) of the data window."""
    first, last = header["dataWindow"]
    return int(last[0]) - int(first[0]) + 1, int(last[1]) - int(first[1]) + 1


def exr_primaries(header: dict[str, Any]) -> tuple[float, ...] | None:
    """The eight chromaticities, red, green, blue and white; None where the file has none."""
    value = header.get("chromaticities")
    if not isinstance(value, tuple) or len(value) != 8:
        return None
    return tuple(float(v) for v in value) if all(isinstance(v, float) for v in value) else None


def parse_report(text: Any) -> dict[str, Any] | None:
    """A report from its JSON; None where that is damaged or absent."""
    try:
        report = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return report if isinstance(report, dict) else None


def _compression_name(value: Any) -> str:
    name = _enum_name(value).removesuffix("_COMPRESSION").lower()
    return "none" if name == _NAMES["none"] else name


def _enum_name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, int | str | bool):
        return value
    try:
        return str(value)
    except UnicodeDecodeError:  # OpenEXR's own types hold whatever bytes the file holds
        return type(value).__name__


def _headers(path: Path) -> list[dict[str, Any]]:
    OpenEXR = _library()

    open_input(path).close()
    try:
        file = OpenEXR.File(str(path), header_only=True)
        headers = [file.header(k) for k in range(len(file.parts))]
        for header in headers:  # what cannot be decoded or is missing shows here
            _size(header), [c.name for c in header["channels"]]
        return headers
    except Exception as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, reason: Exception | str) -> InputError:
    said = " ".join(str(reason).split())[:200].rstrip(".")
    return InputError(f"{path} is no EXR that can be read: {said}.", "Copy or write it again.")


def _colour_group(parts: list[dict[str, Any]], path: Path) -> tuple[int, str]:
    """(part, channel group) that holds the picture; groups are named as OpenEXR.File does."""
    names: list[str] = []
    for index, header in enumerate(parts):
        if "deep" in _enum_name(header.get("type", "")):
            continue
        width, height = _size(header)
        check_size(width, height, path)
        if width * height * 2 > path.stat().st_size * _MAX_RATIO:
            raise _damaged(path, f"it is too small for {width} x {height} pixels")
        channels = {c.name: c for c in header["channels"]}
        names += channels
        if {"RY", "BY"} & set(channels):
            raise InputError(
                f"{path} holds luminance and subsampled chroma.", "Convert it to RGB channels."
            )
        if {"R", "G", "B"} <= set(channels):
            return index, "RGBA" if "A" in channels else "RGB"
        if "Y" in channels:
            return index, "Y"
        for name in channels:
            layer = name.rpartition(".")[0]
            if layer and {f"{layer}.{c}" for c in "RGB"} <= set(channels):
                return index, layer
        if len(channels) == 1:
            return index, next(iter(channels))
    raise InputError(
        f"{path} holds no colour picture (its channels: {', '.join(names[:12]) or 'none'}).",
        "Channels R, G, B or Y are needed.",
    )
