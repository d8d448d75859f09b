"""Small files for the tests of reading: EXIF blocks, ICC profiles, pictures of every kind."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from hdrmerge.frames import CaptureSettings, Location
from hdrmerge.io.containers import TiffReader
from hdrmerge.io.metadata import directory_bytes
from hdrmerge.simulate.dng import mosaic, write_dng

SHARED = Path(__file__).resolve().parents[3] / "shared"
SETTINGS = CaptureSettings(
    exposure_time=1 / 60,
    f_number=8.0,
    iso=200.0,
    captured_at=datetime(2024, 5, 6, 7, 8, 9, 250000),
    camera_make="Maker",
    camera_model="Model",
    lens_model="Lens",
    focal_length=35.0,
)
FULL_SETTINGS = replace(
    SETTINGS,
    focal_length_35mm=52.0,
    utc_offset=timedelta(hours=-3, minutes=-30),
    artist="Ann Author",
    copyright="© Ann Author",
    location=Location(-33.8567844, 151.2152967, -12.5),
)
# tag: (type, values); types as in TIFF: 2 ASCII, 3 SHORT, 4 LONG, 5 RATIONAL, 10 SRATIONAL
Tags = dict[int, tuple[int, Any]]


def exif_block(image: Tags, exif: Tags, interop: Tags | None = None, order: str = "<") -> bytes:
    """A TIFF structure with an image, an EXIF and perhaps an interoperability directory."""
    image, exif = dict(image), dict(exif)
    image[0x8769] = (4, [0])
    if interop is not None:
        exif[0xA005] = (4, [0])
    start = 8
    exif_at = start + len(_directory(image, start, order))
    interop_at = exif_at + len(_directory(exif, exif_at, order))
    image[0x8769] = (4, [exif_at])
    if interop is not None:
        exif[0xA005] = (4, [interop_at])
    magic = b"II" if order == "<" else b"MM"
    block = magic + struct.pack(f"{order}HI", 42, start)
    block += _directory(image, start, order) + _directory(exif, exif_at, order)
    return block + (_directory(interop, interop_at, order) if interop is not None else b"")


def _directory(tags: Tags, offset: int, order: str) -> bytes:
    table, extra = struct.pack(f"{order}H", len(tags)), b""
    extra_at = offset + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        if kind == 2:
            payload = values.encode() + b"\0"
            count = len(payload)
        elif kind in (5, 10):
            code = "I" if kind == 5 else "i"
            payload = b"".join(struct.pack(f"{order}2{code}", *pair) for pair in values)
            count = len(values)
        else:
            payload = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
            count = len(values)
        if len(payload) > 4:
            where = struct.pack(f"{order}I", extra_at + len(extra))
            extra += payload
        else:
            where = payload.ljust(4, b"\0")
        table += struct.pack(f"{order}HHI", tag, kind, count) + where
    return table + struct.pack(f"{order}I", 0) + extra


def jpeg_bytes(
    pixels: np.ndarray[Any, Any], *, exif: bytes | None = None, icc: bytes | None = None, **how: Any
) -> bytes:
    """A JPEG of (H, W, 3) uint8 RGB (or (H, W) grey)."""
    buffer = io.BytesIO()
    options = {"quality": 95, "subsampling": 0, **how}
    if exif is not None:
        options["exif"] = b"Exif\0\0" + exif
    if icc is not None:
        options["icc_profile"] = icc
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def icc_profile(
    primaries: tuple[float, ...], curve: bytes, *, name: bytes = b"test", model: bytes = b"RGB "
) -> bytes:
    """A version 2 matrix profile of eight chromaticities and one tone curve tag."""
    bradford = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    columns = []
    for k in range(0, 8, 2):
        x, y = primaries[k : k + 2]
        columns.append([x / y, 1.0, (1 - x - y) / y])
    xyz, white = np.array(columns[:3]).T, np.array(columns[3])
    xyz = xyz * np.linalg.solve(xyz, white)
    ratio = (bradford @ [0.9642, 1.0, 0.8249]) / (bradford @ white)
    xyz = np.linalg.inv(bradford) @ np.diag(ratio) @ bradford @ xyz
    tags = {b"desc": b"desc" + struct.pack(">II", 0, len(name) + 1) + name + b"\0" * 80}
    for column, tag in zip(xyz.T, (b"rXYZ", b"gXYZ", b"bXYZ"), strict=True):
        fixed = [round(v * 65536) for v in column]
        tags[tag] = b"XYZ \0\0\0\0" + struct.pack(">3i", *fixed)
    for tag in (b"rTRC", b"gTRC", b"bTRC", b"kTRC"):
        tags[tag] = curve
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        offset = 128 + 4 + 12 * len(tags) + len(body)
        table += tag + struct.pack(">II", offset, len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = bytearray(128)
    head[:4] = struct.pack(">I", 128 + len(table) + len(body))
    head[12:24] = b"mntr" + model + b"XYZ "
    head[36:40] = b"acsp"
    return bytes(head) + table + body


def gamma_curve(exponent: float) -> bytes:
    """A ``curv`` tag of one exponent."""
    return b"curv" + struct.pack(">IIH", 0, 1, round(exponent * 256))


def picture(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray[Any, Any]:
    """A smooth (H, W, 3) uint8 picture, all corners different, with a little noise."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    noise = np.random.default_rng(seed).normal(0, 2, (height, width, 3))
    planes = np.stack([60 + 150 * x, 40 + 180 * y, 200 - 150 * (x + y) / 2], axis=-1)
    return np.clip(planes + noise, 0, 255).astype(np.uint8)


def dng_file(path: Path, rgb: np.ndarray[Any, Any], **how: Any) -> Path:
    """A DNG of linear (H, W, 3) uint16 camera codes."""
    write_dng(path, mosaic(rgb), **{"settings": SETTINGS, **how})
    return path


def predicted_tiff(pixels: np.ndarray[Any, Any]) -> bytes:
    """A deflated little-endian TIFF of float (H, W, 3) with the floating-point predictor."""
    height, width, _ = pixels.shape
    size = pixels.dtype.itemsize
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">")).view(np.uint8)
    planes = big_endian.reshape(height, width * 3, size).transpose(0, 2, 1).reshape(height, -1, 3)
    stored = planes.copy()
    stored[:, 1:] -= planes[:, :-1]
    buffer = io.BytesIO()
    plain = np.ascontiguousarray(stored.reshape(height, -1)).view(f"<f{size}")
    tifffile.imwrite(
        buffer,
        plain.reshape(pixels.shape),
        photometric="rgb",
        compression="zlib",
        byteorder="<",
        metadata=None,
    )
    tiff = TiffReader(buffer)
    old = tiff.directory(tiff.first).items()
    fields = {tag: (field.kind, field.count, tiff.raw(field)) for tag, field in old}
    fields[317] = (3, 1, struct.pack("<H", 3))
    data = bytearray(buffer.getvalue())
    data += bytes(len(data) % 2)
    struct.pack_into("<I", data, 4, len(data))
    return bytes(data) + directory_bytes(fields, len(data))
