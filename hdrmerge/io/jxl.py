"""JPEG XL of HDR pictures.

The encoder at hand codes linear light but cannot say how it is meant to be shown. In a lossy JPEG
XL pixels are absolute (XYB), and the header's colour encoding only tells decoders what to turn them
into; so the image header (ISO/IEC 18181-1, annex D) is written anew here: BT.2100 primaries, PQ,
and the brightest luminance. Frames stay as they are.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from hdrmerge.errors import OutputError
from hdrmerge.frames import CaptureSettings, FloatArray
from hdrmerge.io.atomic import write_bytes
from hdrmerge.io.metadata import exif_block
from hdrmerge.io.pq import DIFFUSE_WHITE, imagecodecs

_CODED_WHITE = 255.0  # cd/m2 that a linear 1 stands for when nothing is said
_EFFORT = 4  # of 9
_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl "
_BITS = 16  # a value, of what decoders give by default


def write_jxl(
    path: Path,
    light: FloatArray,
    settings: CaptureSettings | None = None,
    *,
    quality: int = 90,
) -> None:
    """Write ``light`` (H, W, 3), linear Rec.709, 1 = diffuse white, as JPEG XL, atomically.

    Raises UsageError without the package imagecodecs, OutputError where coding fails.
    """
    codecs = imagecodecs(path)
    peak = max(float(light.max(initial=0)), 1.0) * DIFFUSE_WHITE
    try:
        coded = codecs.jpegxl_encode(
            light * np.float32(DIFFUSE_WHITE / _CODED_WHITE),
            distance=0.1 + 0.09 * (100 - quality),  # as libjxl turns quality to distance
            effort=_EFFORT,
            usecontainer=False,
        )
        stream = with_pq_header(bytes(coded), peak)
    except (RuntimeError, ValueError) as error:
        raise OutputError(f"{path} cannot be written as JPEG XL: {error}.") from error
    parts = [_SIGNATURE]
    if settings is not None:
        parts.append(_box(b"Exif", bytes(4) + exif_block(settings, srgb=False)))
    write_bytes(path, *parts, _box(b"jxlc", stream))


def with_pq_header(stream: bytes, peak: float) -> bytes:
    """A codestream whose header says BT.2100 primaries, PQ, and ``peak`` cd/m2 as brightest.

    Raises ValueError for a header that is not that of a plain lossy picture.
    """
    reader = _Bits(stream)
    if stream[:2] != b"\xff\x0a":
        raise ValueError("no JPEG XL codestream")
    reader.take(16)
    _skip_size(reader)
    size_end = reader.position
    modular_16bit = _skip_metadata(reader)
    frames = stream[-(-reader.position // 8) :]
    new = _Bits(stream, size_end)
    new.put((0, 1), (1, 1), (0, 3), (0, 3))  # more follows; upright, no preview, no animation
    new.put((0, 1), (3, 2), (_BITS - 1, 6))  # integers of so many bits
    new.put((modular_16bit, 1), (0, 2), (1, 1))  # no extra channels; XYB
    new.put((0, 1), (0, 1), (0, 2), (1, 2))  # no ICC profile; RGB; white D65
    new.put((2, 2), (9 - 2, 4), (0, 1), (2, 2), (16 - 2, 4), (1, 2))  # BT.2100, PQ, relative
    half = struct.unpack("<H", struct.pack("<e", peak))[0]
    new.put((0, 1), (half, 16), (0, 16), (0, 1), (0, 16))  # the range of luminance
    new.put((0, 2), (1, 1))  # no extensions; the usual transform
    return new.to_bytes() + frames


class _Bits:
    """Bits of a byte string, the least significant first; up to ``end`` of them."""

    def __init__(self, data: bytes, end: int = 1 << 12) -> None:
        head = int.from_bytes(data[: end // 8 + 1], "little")
        self._value, self._end = head & ((1 << end) - 1), end
        self.position = 0

    def take(self, count: int) -> int:
        value = self._value >> self.position & ((1 << count) - 1)
        self.position += count
        return value

    def put(self, *fields: tuple[int, int]) -> None:
        """Append (value, number of bits)."""
        for value, count in fields:
            self._value |= value << self._end
            self._end += count

    def to_bytes(self) -> bytes:
        return self._value.to_bytes(-(-self._end // 8), "little")


def _skip_size(bits: _Bits) -> None:
    small = bits.take(1)
    for side in range(2):
        if small:
            bits.take(5)
        else:
            bits.take((9, 13, 18, 30)[bits.take(2)])
        if side == 0 and bits.take(3):  # a ratio instead of the width
            return


def _skip_metadata(bits: _Bits) -> int:
    """Pass over the image metadata; returns whether 16-bit buffers do for its modular parts."""
    if bits.take(1):
        return 1
    if bits.take(1):
        raise ValueError("its header has extra fields")
    floating, choice = bits.take(1), bits.take(2)
    bits.take(6 if choice == 3 else 0)
    bits.take(4 if floating else 0)
    modular_16bit = bits.take(1)
    if bits.take(2):
        raise ValueError("it has extra channels")
    if not bits.take(1):
        raise ValueError("it is lossless")
    if not bits.take(1):  # a colour encoding other than sRGB
        if bits.take(1):
            raise ValueError("it has an ICC profile")
        enumerated = [_enumerated(bits) for _ in range(3)]  # space, white, primaries
        if bits.take(1) or enumerated[0] or 2 in enumerated[1:]:
            raise ValueError("its colours are custom")
        _enumerated(bits), _enumerated(bits)  # transfer, intent
    if bits.take(2) or not bits.take(1):
        raise ValueError("it has extensions")
    return modular_16bit


def _enumerated(bits: _Bits) -> int:
    choice = bits.take(2)
    return choice if choice < 2 else 2 + bits.take(4) if choice == 2 else 18 + bits.take(6)


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload
