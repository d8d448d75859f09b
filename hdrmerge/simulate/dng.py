"""A small DNG writer: what a camera's RAW file holds, for brackets of which the truth is known.

Tags are those of Adobe's DNG specification 1.4: one uncompressed 16-bit mosaic, black and white
level, one colour matrix under D65, the neutral colour, and EXIF.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import CaptureSettings

# XYZ (D65) to linear Rec.709: a camera whose raw RGB is Rec.709 already.
REC709_FROM_XYZ = (
    *(3.2404542, -1.5371385, -0.4985314),
    *(-0.9692660, 1.8760108, 0.0415560),
    *(0.0556434, -0.2040259, 1.0572252),
)
_CFA_COLOURS = {"R": 0, "G": 1, "B": 2}
_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL = 1, 2, 3, 4, 5, 10
_D65 = 21
Entry = tuple[int, int, Any]  # tag, type, values (str for ASCII)


def mosaic(rgb: NDArray[Any], pattern: str = "RGGB") -> NDArray[Any]:
    """The samples (H, W) that a colour filter array keeps of (H, W, 3); ``pattern`` by rows."""
    height, width = rgb.shape[:2]
    cfa = np.empty((height, width), rgb.dtype)
    for k, colour in enumerate(pattern):
        y, x = divmod(k, 2)
        cfa[y::2, x::2] = rgb[y::2, x::2, _CFA_COLOURS[colour]]
    return cfa


def write_dng(
    path: Path,
    cfa: NDArray[np.uint16],
    *,
    settings: CaptureSettings,
    black: float | tuple[float, float, float, float] = 0,
    white: int = 65535,
    as_shot_neutral: tuple[float, float, float] = (1.0, 1.0, 1.0),
    colour_matrix: tuple[float, ...] = REC709_FROM_XYZ,
    pattern: str = "RGGB",
    orientation: int = 1,
) -> None:
    """Write a mosaic (H, W) uint16 as DNG.

    ``black``: one level or one for each site of the 2x2 pattern by rows. ``as_shot_neutral``: the
    camera's raw colour of white. ``colour_matrix``: XYZ under D65 to camera RGB, nine numbers by
    rows. ``orientation``: EXIF's, 1..8.
    """
    height, width = cfa.shape
    blacks = (black,) * 4 if isinstance(black, int | float) else black
    exif = _exif_entries(settings)
    image: list[Entry] = [
        (254, _LONG, [0]),
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [16]),
        (259, _SHORT, [1]),
        (262, _SHORT, [32803]),
        (271, _ASCII, settings.camera_make or "hdrmerge"),
        (272, _ASCII, settings.camera_model or "Simulated Camera"),
        (273, _LONG, [0]),
        (274, _SHORT, [orientation]),
        (277, _SHORT, [1]),
        (278, _LONG, [height]),
        (279, _LONG, [2 * height * width]),
        (284, _SHORT, [1]),
        (33421, _SHORT, [2, 2]),
        (33422, _BYTE, [_CFA_COLOURS[c] for c in pattern]),
        (34665, _LONG, [0]),
        (50706, _BYTE, [1, 4, 0, 0]),
        (50708, _ASCII, settings.camera_model or "Simulated Camera"),
        (50713, _SHORT, [2, 2]),
        (50714, _RATIONAL, blacks),
        (50717, _LONG, [white]),
        (50721, _SRATIONAL, colour_matrix),
        (50728, _RATIONAL, as_shot_neutral),
        (50778, _SHORT, [_D65]),
    ]
    # Offsets are known once the sizes are, and sizes do not depend on offsets.
    start = 8
    exif_at = start + len(_directory(image, start))
    pixels_at = exif_at + len(_directory(exif, exif_at))
    placed = {273: pixels_at, 34665: exif_at}
    image = [(tag, kind, [placed[tag]] if tag in placed else v) for tag, kind, v in image]
    head = b"II*\0" + struct.pack("<I", start)
    data = head + _directory(image, start) + _directory(exif, exif_at)
    path.write_bytes(data + np.ascontiguousarray(cfa, "<u2").tobytes())


def _exif_entries(settings: CaptureSettings) -> list[Entry]:
    moment = settings.captured_at
    entries: list[tuple[int, int, Any]] = [
        (33434, _RATIONAL, settings.exposure_time),
        (33437, _RATIONAL, settings.f_number),
        (34855, _SHORT, None if settings.iso is None else int(min(settings.iso, 65535))),
        (36864, _BYTE, list(b"0230")),
        (36867, _ASCII, moment and moment.strftime("%Y:%m:%d %H:%M:%S")),
        (37386, _RATIONAL, settings.focal_length),
        (37521, _ASCII, moment and f"{moment.microsecond:06d}"),
        (42036, _ASCII, settings.lens_model),
    ]
    return [
        (tag, kind, value if isinstance(value, list | str) else [value])
        for tag, kind, value in entries
        if value is not None
    ]


def _directory(entries: list[Entry], offset: int) -> bytes:
    """One TIFF directory at ``offset`` followed by the values that do not fit into it."""
    table = struct.pack("<H", len(entries))
    extra = b""
    extra_at = offset + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        payload, count = _pack(kind, values)
        if len(payload) > 4:
            where = struct.pack("<I", extra_at + len(extra))
            extra += payload + b"\0" * (len(payload) % 2)
        else:
            where = payload.ljust(4, b"\0")
        table += struct.pack("<HHI", tag, kind, count) + where
    return table + struct.pack("<I", 0) + extra


def _pack(kind: int, values: Any) -> tuple[bytes, int]:
    if kind == _ASCII:
        text = values.encode() + b"\0"
        return text, len(text)
    if kind in (_RATIONAL, _SRATIONAL):
        code = "<II" if kind == _RATIONAL else "<ii"
        fractions = [Fraction(float(v)).limit_denominator(1_000_000) for v in values]
        packed = [struct.pack(code, f.numerator, f.denominator) for f in fractions]
        return b"".join(packed), len(packed)
    code = {_BYTE: "B", _SHORT: "H", _LONG: "I"}[kind]
    return struct.pack(f"<{len(values)}{code}", *values), len(values)
