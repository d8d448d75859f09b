"""Radiance .hdr (RGBE), PFM and float TIFF, and the one door through which any HDR file is read.

The Radiance format is that of Ward's reference manual: text lines, an empty line, the resolution,
then RGBE pixels; ``EXPOSURE`` lines multiply and are divided out. OpenCV codes the pixels.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hdrmerge.errors import InputError, OutputError
from hdrmerge.frames import (
    REC709_CHROMATICITIES,
    CaptureSettings,
    FloatArray,
    HalfArray,
    Matrix,
    RadianceMap,
    to_float,
)
from hdrmerge.io.atomic import write_bytes
from hdrmerge.io.detect import detect, enough_memory, open_input
from hdrmerge.io.encoded import check_size, read_encoded
from hdrmerge.io.exr import read_stored_exr
from hdrmerge.io.exr_header import exr_facts, exr_primaries, parse_report, read_exr_header
from hdrmerge.io.icc import rgb_to_xyz, white_to_white, xyz_to_rec709
from hdrmerge.io.metadata import attributes_of
from hdrmerge.report import MergeReport

_MAX_HEADER = 1 << 20
_REPORT = "hdrmerge:report="


def write_hdr(
    path: Path,
    radiance: RadianceMap,
    report: MergeReport | None = None,
    settings: CaptureSettings | None = None,
) -> None:
    """Write a radiance map as run-length coded Radiance RGBE, atomically.

    The header says primaries, capture settings and, as a comment, the report.
    """
    import cv2

    primaries = " ".join(f"{v:.4f}" for v in REC709_CHROMATICITIES)
    lines = ["#?RADIANCE", "FORMAT=32-bit_rle_rgbe", "EXPOSURE=1.0", f"PRIMARIES={primaries}"]
    if report is not None:
        lines.insert(1, f"SOFTWARE=hdrmerge {report.version}")
        lines.append(f"# {_REPORT}{report.to_json(seconds=False)}")
    if settings is not None and settings.captured_at is not None:
        lines.append(f"CAPDATE={settings.captured_at:%Y:%m:%d %H:%M:%S}")
    pixels = cv2.cvtColor(radiance.pixels, cv2.COLOR_RGB2BGR)
    largest = np.max(pixels, axis=2)
    half_step = np.ldexp(np.float32(1 / 512), np.frexp(largest)[1])  # OpenCV's coder truncates
    pixels += np.where(largest > 1e-30, half_step, np.float32(0))[..., None]
    done, coded = cv2.imencode(".hdr", pixels)
    if not done:
        raise OutputError(f"{path} cannot be written as Radiance HDR.")
    data = coded.tobytes()
    resolution = data.index(b"\n\n") + 1  # OpenCV's own header goes, the empty line stays
    write_bytes(path, ("\n".join(lines) + "\n").encode(), memoryview(data)[resolution:])


def read_radiance(path: Path) -> tuple[FloatArray, dict[str, Any]]:
    """``read_stored_radiance`` in float32."""
    pixels, facts = read_stored_radiance(path)
    with enough_memory(path):
        return to_float(pixels), facts


def read_stored_radiance(path: Path) -> tuple[FloatArray | HalfArray, dict[str, Any]]:
    """(pixels, facts) of an EXR, Radiance HDR, PFM or float TIFF: (H, W, 3) linear Rec.709.

    float32, or an EXR's half floats as they are.

    Pixels in other primaries are converted where the file names them. Values are not checked: NaN
    and infinity may occur in all but TIFF. ``facts`` are plain types, as of ``read_header``.
    Raises InputError for what is damaged or no HDR picture.
    """
    with enough_memory(path), open_input(path) as file:
        kind = detect(file, path)
        pixels: FloatArray | HalfArray
        if kind == "exr":
            pixels, header = read_stored_exr(path)
            facts, primaries = exr_facts(header), exr_primaries(header)
        elif kind == "hdr":
            pixels, facts, primaries = _read_rgbe(file, path)
        elif kind == "pfm":
            pixels, facts = _read_pfm(file, path)
            primaries = None
        elif kind == "tiff":
            frame = read_encoded(file, path, kind)
            if frame.encoding != "linear":
                raise _not_hdr(path)
            linear = frame.pixels
            if frame.colour_space != "sRGB":
                linear = _times(linear, frame.to_rec709)
            pixels, facts, primaries = linear, _facts("float TIFF", linear), None
            known = attributes_of(frame.settings).items()
            facts["attributes"] = {name: value for name, value in known if value is not None}
        else:
            raise _not_hdr(path)
        return _in_rec709(pixels, primaries), facts


def read_header(path: Path) -> dict[str, Any]:
    """What an HDR file says of itself, in plain types: format, width, height, attributes, report.

    Only the header is read of EXR and Radiance HDR. Raises InputError as ``read_radiance`` does.
    """
    with open_input(path) as file:
        kind = detect(file, path)
        if kind == "exr":
            return exr_facts(read_exr_header(path))
        if kind == "hdr":
            return _rgbe_header(file, path)[0]
    return read_radiance(path)[1]


def _not_hdr(path: Path) -> InputError:
    return InputError(
        f"{path} is a photograph, not an HDR picture.",
        "EXR, Radiance HDR, PFM and float TIFF are HDR; use `hdrmerge fuse` to make one.",
    )


def _facts(form: str, pixels: FloatArray) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    return {"format": form, "width": width, "height": height, "attributes": {}}


def _in_rec709(
    pixels: FloatArray | HalfArray, primaries: tuple[float, ...] | None
) -> FloatArray | HalfArray:
    """Pixels of other primaries (eight chromaticities) in Rec.709, white to white."""
    if primaries is None or not np.all(np.isfinite(primaries)) or 0 in primaries[1::2]:
        return pixels
    if np.abs(np.subtract(primaries, REC709_CHROMATICITIES)).max() < 2e-3:
        return pixels
    try:
        to_xyz = rgb_to_xyz(tuple(primaries))
        matrix = white_to_white(xyz_to_rec709(to_xyz.sum(axis=1)) @ to_xyz)
    except np.linalg.LinAlgError:
        return pixels
    return _times(to_float(pixels), matrix)


def _times(pixels: FloatArray, matrix: Matrix) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):  # wild values stay wild
        return np.asarray(pixels @ matrix.T.astype(np.float32))


def _rgbe_header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(facts, internals) of a Radiance file; internals: exposure, primaries, axes, offset."""
    file.seek(0)
    head = file.read(_MAX_HEADER)
    text, blank, rest = head.partition(b"\n\n")
    line, newline, _ = rest[:256].partition(b"\n")
    fields = line.split()
    axes = [f.decode("ascii", "replace") for f in fields[::2]]
    if not blank or not newline or len(fields) != 4 or [a[1:] for a in axes] != ["Y", "X"]:
        raise InputError(f"{path} has a damaged Radiance header.", "Copy or write it again.")
    try:
        height, width = int(fields[1]), int(fields[3])
    except ValueError:
        raise InputError(f"{path} has a damaged Radiance header.") from None
    check_size(width, height, path)
    facts: dict[str, Any] = {"format": "Radiance HDR", "width": width, "height": height}
    attributes: dict[str, Any] = {}
    exposure, primaries = 1.0, None
    for entry in text.decode("utf-8", "replace").splitlines()[1:]:
        name, equals, value = entry.partition("=")
        if entry.startswith("#"):
            comment = entry.lstrip("# ")
            if comment.startswith(_REPORT):
                facts["report"] = parse_report(comment.removeprefix(_REPORT))
        elif equals:
            attributes[name.strip()] = value.strip()
            numbers = _floats(value)
            if name == "EXPOSURE" and len(numbers) == 1 and numbers[0] > 0:
                exposure *= numbers[0]
            elif name == "PRIMARIES" and len(numbers) == 8:
                primaries = tuple(numbers)
    if attributes.get("FORMAT") == "32-bit_rle_xyze":
        raise InputError(f"{path} holds XYZ instead of RGB.", "Convert it with Radiance's ra_xyze.")
    facts["attributes"] = attributes
    offset = len(text) + len(blank) + len(line) + 1
    return facts, {"exposure": exposure, "primaries": primaries, "axes": axes, "offset": offset}


def _floats(text: str) -> list[float]:
    try:
        return [v for v in map(float, text.split()) if math.isfinite(v)]
    except ValueError:
        return []


def _read_rgbe(
    file: BinaryIO, path: Path
) -> tuple[FloatArray, dict[str, Any], tuple[float, ...] | None]:
    import cv2

    facts, inside = _rgbe_header(file, path)
    file.seek(inside["offset"])
    plain = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {facts['height']} +X {facts['width']}\n"
    buffer = np.frombuffer(plain.encode() + file.read(), np.uint8)
    cv2.utils.logging.setLogLevel(0)
    try:
        coded = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        coded = None
    if coded is None:
        raise InputError(f"{path} is damaged or truncated.", "Copy or write it again.")
    pixels = cv2.cvtColor(coded, cv2.COLOR_BGR2RGB)
    if inside["axes"] != ["-Y", "+X"]:
        pixels = pixels[:: 1 if inside["axes"][0] == "-Y" else -1]
        pixels = pixels[:, :: 1 if inside["axes"][1] == "+X" else -1]
    if inside["exposure"] != 1.0:
        pixels = pixels / np.float32(inside["exposure"])
    return np.ascontiguousarray(pixels), facts, inside["primaries"]


def _read_pfm(file: BinaryIO, path: Path) -> tuple[FloatArray, dict[str, Any]]:
    """Portable float map: rows from the bottom up; the sign of the scale is the byte order."""
    file.seek(0)
    data = file.read()
    damaged = InputError(f"{path} is a damaged or truncated PFM.", "Copy or write it again.")
    head = re.match(rb"(P[Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,32})[ \t]*\r?\n", data[:256])
    if head is None:
        raise damaged
    width, height, channels = int(head[2]), int(head[3]), 3 if head[1] == b"PF" else 1
    check_size(width, height, path)
    offset = head.end()
    count = width * height * channels
    if len(data) - offset < 4 * count:
        raise damaged
    values = np.frombuffer(data, "<f4" if head[4].startswith(b"-") else ">f4", count, offset)
    pixels = values.reshape(height, width, channels)[::-1].astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3))), _facts("PFM", pixels)
