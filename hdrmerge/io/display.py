"""Pictures for an ordinary display: JPEG, PNG and TIFF in sRGB, with its profile and with EXIF."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hdrmerge.errors import OutputError, UsageError
from hdrmerge.frames import CaptureSettings, Codes
from hdrmerge.io.atomic import atomic_path, write_bytes
from hdrmerge.io.containers import PNG_MAGIC, TiffReader, jpeg_segments
from hdrmerge.io.metadata import (
    EXIF_POINTER,
    GPS_POINTER,
    Directories,
    Values,
    directories,
    directory_bytes,
    exif_block,
)
from hdrmerge.threads import side_by_side
from hdrmerge.tonemap.bands import Made, kept

JPEG_QUALITY = 95
_STRIP = 56  # rows of a JPEG that are coded at once; blocks of strips of any width can be counted
_IHDR_END = len(PNG_MAGIC) + 25


def write_display(
    path: Path,
    codes: Codes | Made,
    settings: CaptureSettings | None = None,
    *,
    quality: int = JPEG_QUALITY,
) -> None:
    """Write an sRGB-encoded picture (H, W, 3) RGB atomically; the suffix names the format.

    ``codes`` are uint8, uint16 (PNG and TIFF only) or fractions in [0, 1], which become 8 bit.
    Of what is made when it is asked for, a JPEG never needs the whole.
    JPEG has full chroma. ``settings`` become EXIF, which names this program in any case: a batch
    must not take its pictures for photographs. Raises UsageError for a suffix or depth that
    does not fit, OutputError where the file cannot be written.
    """
    if isinstance(codes, np.ndarray) and codes.dtype.kind == "f":
        codes = (np.clip(codes, 0, 1) * 255 + 0.5).astype(np.uint8)
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        if codes.dtype != np.uint8:
            raise UsageError(f"{path}: JPEG holds 8 bits a value.", "Write .png or .tif.")
        exif = exif_block(settings or CaptureSettings())
        write_bytes(path, jpeg_bytes(codes, quality=quality, exif=exif, icc=srgb_profile()))
    elif suffix == ".png":
        profile = b"sRGB\0\0" + zlib.compress(srgb_profile())
        chunks = [(b"iCCP", profile), (b"eXIf", exif_block(settings or CaptureSettings()))]
        write_bytes(path, *png_parts(kept(codes), chunks, path))
    elif suffix in (".tif", ".tiff"):
        with atomic_path(path) as temporary:
            _write_tiff(temporary, kept(codes), settings)
    else:
        raise UsageError(f"{path}: pictures are .jpg, .png or .tif.", "Choose one of these.")


@functools.cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB, always the same: it would carry the time of its making."""
    from PIL import ImageCms

    data = bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    moment = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return data[:24] + moment + data[24 + len(moment) :]


def jpeg_bytes(
    codes: Codes | Made,
    *,
    quality: int,
    exif: bytes | None = None,
    icc: bytes | None = None,
    rgb: bool = False,
) -> bytes:
    """A JPEG of (H, W, 3) or (H, W) uint8 with full chroma; ``rgb``: without turning to YCbCr.

    Strips are coded side by side.
    """
    from PIL import Image

    height, width = codes.shape[:2]

    def code(rows: slice) -> bytes:
        head = {} if rows.start or exif is None else {"exif": b"Exif\0\0" + exif}
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(codes[rows])).save(
            buffer,
            "JPEG",
            quality=quality,
            subsampling=0,
            icc_profile=None if rows.start else icc,
            keep_rgb=rgb,
            **head,
        )
        return buffer.getvalue()

    strips = [slice(top, min(top + _STRIP, height)) for top in range(0, height, _STRIP)]
    return _joined(side_by_side(code, strips), height, _STRIP // 8 * -(-width // 8))


def _joined(strips: list[bytes], height: int, interval: int) -> bytes:
    """One JPEG of JPEGs with the same tables that are to lie below each other.

    ITU-T T.81, B.2.1: coding begins anew at restart markers, which count from 0 to 7; they follow
    each other after ``interval`` blocks. Only the last strip may be lower, and no block is cut.
    """
    if len(strips) == 1:
        return strips[0]
    first, found = strips[0], list(jpeg_segments(strips[0]))
    frame = next(start for marker, start, _ in found if marker == 0xC0)  # precision, height, ...
    scan = found[-1][1] - 4
    parts = [first[: frame + 1], struct.pack(">H", height), first[frame + 3 : scan]]
    parts += [b"\xff\xdd", struct.pack(">2H", 4, interval), first[scan : found[-1][2]]]
    for number, strip in enumerate(strips):
        *_, (_, _, begin) = jpeg_segments(strip)
        parts += [strip[begin:-2], bytes((0xFF, 0xD0 + number % 8))]
    return b"".join((*parts[:-1], b"\xff\xd9"))


def png_parts(codes: Codes, chunks: list[tuple[bytes, bytes]], path: Path) -> tuple[bytes, ...]:
    """A PNG by OpenCV (Pillow has no 16-bit colour) with these chunks after the header."""
    import cv2

    done, coded = cv2.imencode(".png", cv2.cvtColor(codes, cv2.COLOR_RGB2BGR))
    if not done:
        raise OutputError(f"{path} cannot be written as PNG.")
    data = coded.tobytes()
    return data[:_IHDR_END], *(png_chunk(*chunk) for chunk in chunks), data[_IHDR_END:]


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """One chunk with its length and check sum."""
    body = kind + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def _write_tiff(path: Path, codes: Codes, settings: CaptureSettings | None) -> None:
    import tifffile

    tifffile.imwrite(
        path,
        codes,
        photometric="rgb",
        compression="zlib",
        predictor=True,
        iccprofile=srgb_profile(),
        metadata=None,
        byteorder="<",
    )
    with path.open("rb+") as file:
        _add_exif(file, directories(settings or CaptureSettings()))


def _add_exif(file: BinaryIO, found: Directories) -> None:
    """A new first directory at the TIFF's end, with the fields of the old one and these.

    tifffile writes no EXIF directories. Offsets in a TIFF count from its beginning, so what the
    old directory points to may stay where it is.
    """
    tiff = TiffReader(file)
    old = tiff.directory(tiff.first).items()
    image: dict[int, Values] = {tag: (f.kind, f.count, tiff.raw(f)) for tag, f in old}
    image |= found.image
    for pointer, fields in ((EXIF_POINTER, found.exif), (GPS_POINTER, found.gps)):
        if fields:
            image[pointer] = 4, 1, struct.pack("<I", _append(file, fields))
    first = _append(file, image)
    file.seek(4)
    file.write(struct.pack("<I", first))


def _append(file: BinaryIO, fields: dict[int, Values]) -> int:
    """Write a directory at the end of a TIFF and return its offset, which is even."""
    end = file.seek(0, io.SEEK_END)
    offset = end + end % 2
    file.write(b"\0" * (end % 2) + directory_bytes(fields, offset))
    return offset
