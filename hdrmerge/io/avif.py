"""AVIF of HDR pictures: BT.2020 PQ, with EXIF, which the coder at hand does not write.

An AVIF is a list of boxes (ISO/IEC 23008-12). EXIF is an item beside the picture: an entry each in
the lists of items (iinf), of places (iloc) and of references (iref).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import OutputError
from hdrmerge.frames import CaptureSettings
from hdrmerge.io.atomic import write_bytes
from hdrmerge.io.metadata import exif_block
from hdrmerge.io.pq import BT2020, PQ, imagecodecs

_YCBCR = 9  # BT.2020 with non-constant luminance, in ITU-T H.273
_SPEED = 9  # of 10: 24 MP in half the time of 8, 4 % larger
_THREADS = 2


def write_avif(
    path: Path,
    codes: NDArray[np.uint16],
    settings: CaptureSettings | None = None,
    *,
    bits: int = 10,
    quality: int = 90,
) -> None:
    """Write ``pq_codes`` of 10 or 12 ``bits`` as AVIF with full chroma, atomically.

    Raises UsageError without the package imagecodecs, OutputError where coding fails.
    """
    coder = imagecodecs(path)
    try:
        data = bytes(
            coder.avif_encode(
                codes,
                level=quality,
                speed=_SPEED,
                bitspersample=bits,
                pixelformat="444",
                primaries=BT2020,
                transfer=PQ,
                matrix=_YCBCR,
                numthreads=_THREADS,
            )
        )
        if settings is not None:
            data = with_exif(data, exif_block(settings, srgb=False))
    except (RuntimeError, ValueError) as error:
        raise OutputError(f"{path} cannot be written as AVIF: {error}.") from error
    write_bytes(path, data)


def with_exif(avif: bytes, exif: bytes) -> bytes:
    """An AVIF of one picture with this EXIF block; raises ValueError for any other layout."""
    outer = dict(_boxes(avif, 0))
    if list(outer) != [b"ftyp", b"meta", b"mdat"]:
        raise ValueError("its boxes are not those of one picture")
    inner = dict(_boxes(outer[b"meta"], 4))  # after version and flags
    places, names = inner[b"iloc"], inner[b"iinf"]
    if places[:6] != b"\0\0\0\0\x44\0" or b"iref" in inner or names[0] != 0:
        raise ValueError("its items are listed in another form")
    count = struct.unpack_from(">H", places, 6)[0]
    new = 1 + max(struct.unpack_from(">H", places, 8 + 14 * k)[0] for k in range(count))
    picture = struct.unpack_from(">H", inner[b"pitm"], 4)[0]
    payload = bytes(4) + exif  # where the TIFF header is: at once
    entry = _box(b"infe", struct.pack(">IHH5s", 2 << 24, new, 0, b"Exif\0"))
    inner[b"iinf"] = names[:4] + struct.pack(">H", count + 1) + names[6:] + entry
    reference = struct.pack(">3H", new, 1, picture)
    inner[b"iref"] = bytes(4) + _box(b"cdsc", reference)

    def meta(shift: int, at: int) -> bytes:
        entries = b""
        for k in range(count):
            item, source, extents, start, size = struct.unpack_from(">3H2I", places, 8 + 14 * k)
            if extents != 1:
                raise ValueError("its picture is in pieces")
            entries += struct.pack(">3H2I", item, source, 1, start + shift, size)
        entries += struct.pack(">3H2I", new, 0, 1, at, len(payload))
        inner[b"iloc"] = places[:6] + struct.pack(">H", count + 1) + entries
        return _box(b"meta", outer[b"meta"][:4] + b"".join(_box(k, v) for k, v in inner.items()))

    head = _box(b"ftyp", outer[b"ftyp"])
    shift = len(meta(0, 0)) - len(outer[b"meta"]) - 8
    at = len(head) + len(meta(0, 0)) + 8 + len(outer[b"mdat"])
    return head + meta(shift, at) + _box(b"mdat", outer[b"mdat"] + payload)


def _boxes(data: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    """(type, payload) of the boxes from ``position`` on."""
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size < 8 or position + size > len(data):
            raise ValueError("a box has a wrong size")
        yield kind, data[position + 8 : position + size]
        position += size


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload
