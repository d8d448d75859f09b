"""Walks through JPEG, PNG and TIFF files to the blocks that hold metadata.

Every walk is bounded: no count or length that a file claims is believed beyond what the file
holds or a constant allows, and damage ends the walk instead of raising. So metadata of a half
broken file is still found, and a hostile one costs milliseconds.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

# Orders and magics of TIFF and of the RAW formats that are TIFF inside (ORF: RO, RS; RW2: U).
_TIFF_MAGICS = {
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"II+\0": ("<", True),
    b"MM\0+": (">", True),
    b"IIRO": ("<", False),
    b"IIRS": ("<", False),
    b"MMOR": (">", False),
    b"IIU\0": ("<", False),
}
_TYPES = {
    1: "B",
    3: "H",
    4: "I",
    6: "b",
    8: "h",
    9: "i",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    18: "Q",
}
_MAX_ENTRIES = 4096
_MAX_VALUES = 1 << 20
_MAX_INFLATED = 1 << 24


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment's payload up to and with the first SOS (0xDA)."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position = data.find(b"\xff", position)
            if position < 0:
                return
            continue
        marker = data[position + 1]
        if marker == 0xFF or marker == 0 or 0xD0 <= marker <= 0xD8 or marker == 1:
            position += 1 if marker in (0xFF, 0) else 2
            continue
        if marker == 0xD9:
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = min(position + 2 + max(length, 2), len(data))
        yield marker, position + 4, end
        if marker == 0xDA:
            return
        position = end


def jpeg_icc(data: bytes) -> bytes | None:
    """The ICC profile of a JPEG, put together from its APP2 segments."""
    parts: dict[int, bytes] = {}
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE2 and data[start : start + 12] == b"ICC_PROFILE\0" and end - start > 14:
            parts.setdefault(data[start + 12], data[start + 14 : end])
    return b"".join(parts[k] for k in sorted(parts)) if parts else None


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the payload of each chunk that is complete, its check sum included."""
    position = len(PNG_MAGIC)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        start, end = position + 8, position + 8 + length
        if end + 4 > len(data):
            return
        yield data[position + 4 : start], start, end
        position = end + 4


def png_icc(data: bytes) -> bytes | None:
    """The ICC profile of a PNG's iCCP chunk."""
    for kind, start, end in png_chunks(data):
        if kind == b"IDAT":
            return None
        if kind == b"iCCP":
            _, _, packed = data[start:end].partition(b"\0")
            try:
                return zlib.decompressobj().decompress(packed[1:], _MAX_INFLATED) or None
            except zlib.error:
                return None
    return None


@dataclass(frozen=True, slots=True)
class Field:
    """Where one TIFF field's values lie: ``kind`` is TIFF's type number."""

    kind: int
    count: int
    offset: int


class TiffReader:
    """Reads fields of a TIFF structure at ``base`` of a seekable binary file, without raising."""

    def __init__(self, file: BinaryIO, base: int = 0) -> None:
        self._file, self._base = file, base
        self._size = file.seek(0, io.SEEK_END)
        head = self.read(0, 16)
        self.order, self.big = _TIFF_MAGICS.get(head[:4], ("", False))
        self.first = 0
        if self.order and len(head) >= 8:
            form, at = ("Q", 8) if self.big else ("I", 4)
            if len(head) >= at + struct.calcsize(form):
                self.first = int(struct.unpack_from(self.order + form, head, at)[0])

    def inside(self, offset: int, order: str | None = None) -> TiffReader:
        """A structure that begins at ``offset``; ``order`` (< or >) where its head tells none."""
        reader = TiffReader(self._file, self._base + max(offset, 0))
        reader.order = order or reader.order
        return reader

    def read(self, offset: int, count: int) -> bytes:
        """At most ``count`` bytes from ``offset``; fewer where the file ends."""
        at = self._base + offset
        if offset < 0 or count <= 0 or at >= self._size:
            return b""
        self._file.seek(at)
        return self._file.read(min(count, self._size - at))

    def directory(self, offset: int) -> dict[int, Field]:
        """The fields of the directory at ``offset``, by tag; empty where there is none."""
        if not self.order or offset <= 0:
            return {}
        form, step = ("HHQQ", 20) if self.big else ("HHII", 12)
        width = 8 if self.big else 2
        head = self.read(offset, width)
        if len(head) < width:
            return {}
        claimed = int(struct.unpack(self.order + ("Q" if self.big else "H"), head)[0])
        block = self.read(offset + width, min(claimed, _MAX_ENTRIES) * step)
        fields: dict[int, Field] = {}
        inline = 8 if self.big else 4
        for k in range(len(block) // step):
            tag, kind, count, value = struct.unpack_from(self.order + form, block, k * step)
            size = _size_of(kind) * count
            at = offset + width + k * step + step - inline if size <= inline else value
            if size and tag not in fields:
                fields[tag] = Field(kind, count, at)
        return fields

    def next_directory(self, offset: int) -> int:
        """Offset of the directory that follows the one at ``offset``; 0 at the end."""
        step, width, form = (20, 8, "Q") if self.big else (12, 2, "H")
        head = self.read(offset, width)
        if len(head) < width:
            return 0
        claimed = int(struct.unpack(self.order + form, head)[0])
        size = 8 if self.big else 4
        tail = self.read(offset + width + claimed * step, size)
        return int.from_bytes(tail, "little" if self.order == "<" else "big")

    def raw(self, field: Field | None) -> bytes:
        """The bytes of a field's values."""
        if field is None:
            return b""
        return self.read(field.offset, min(_size_of(field.kind) * field.count, _MAX_INFLATED))

    def text(self, field: Field | None) -> str | None:
        """An ASCII field without padding; None where it is empty or absent."""
        if field is None or field.kind not in (2, 7, 1):
            return None
        value = self.read(field.offset, min(field.count, 1024)).split(b"\0", 1)[0]
        return value.decode("utf-8", "replace").strip() or None

    def numbers(self, field: Field | None, limit: int = _MAX_VALUES) -> list[float]:
        """Up to ``limit`` values; a fraction with a zero denominator is NaN."""
        if field is None:
            return []
        count = min(field.count, limit)
        data = self.read(field.offset, _size_of(field.kind) * count)
        count = min(count, len(data) // max(_size_of(field.kind), 1))
        if field.kind in (5, 10):
            form = f"{self.order}{2 * count}{'I' if field.kind == 5 else 'i'}"
            parts = struct.unpack_from(form, data)
            pairs = zip(parts[::2], parts[1::2], strict=True)
            return [a / b if b else math.nan for a, b in pairs]
        code = "B" if field.kind == 7 else _TYPES.get(field.kind)
        if code is None:
            return []
        return [float(v) for v in struct.unpack_from(f"{self.order}{count}{code}", data)]

    def number(self, field: Field | None) -> float | None:
        """The first value of a field; None where there is none."""
        values = self.numbers(field, 1)
        return values[0] if values else None


def _size_of(kind: int) -> int:
    if kind in (2, 7):
        return 1
    if kind in (5, 10):
        return 8
    return struct.calcsize(_TYPES[kind]) if kind in _TYPES else 0


def tiff_icc(file: BinaryIO) -> bytes | None:
    """The ICC profile of a TIFF's first directory."""
    tiff = TiffReader(file)
    return tiff.raw(tiff.directory(tiff.first).get(34675)) or None
