"""The tags of JPEG, PNG, TIFF and RAW files: where their directories lie, and what they hold."""

from __future__ import annotations

import io
import math
from typing import BinaryIO

from hdrmerge.io.containers import (
    JPEG_MAGIC,
    PNG_MAGIC,
    Field,
    TiffReader,
    jpeg_segments,
    png_chunks,
)
from hdrmerge.io.makernotes import Drive, read_drive

_HEAD = 1 << 20  # metadata of JPEG, RAF and CR3 files lies within the first MiB
_SHORT_HEAD = 1 << 17  # and of most JPEG files within this: one EXIF block and a half


def read_tags(file: BinaryIO) -> Tags:
    """All directories of an open image file of any kind. Never raises on damage."""
    tags = Tags()
    for source, base in _blocks(file):
        tags.add(TiffReader(source, base))
    return tags


class Tags:
    """Fields by directory; a tag may stand in the image's or in the EXIF directory."""

    def __init__(self) -> None:
        self._fields: dict[tuple[str, int], tuple[TiffReader, Field]] = {}
        self._blocks: list[tuple[TiffReader, dict[int, Field]]] = []

    def add(self, tiff: TiffReader) -> None:
        image = tiff.directory(tiff.first)
        self._blocks.append((tiff, image))
        self._keep("image", tiff, image)
        exif = tiff.directory(_pointer(tiff, image.get(0x8769)))
        self._keep("exif", tiff, exif)
        self._keep("interop", tiff, tiff.directory(_pointer(tiff, exif.get(0xA005))))
        self._keep("gps", tiff, tiff.directory(_pointer(tiff, image.get(0x8825))))

    def _keep(self, name: str, tiff: TiffReader, fields: dict[int, Field]) -> None:
        for tag, entry in fields.items():
            self._fields.setdefault((name, tag), (tiff, entry))

    def _find(self, name: str, tag: int) -> tuple[TiffReader, Field] | None:
        found = self._fields.get((name, tag))
        if found is None and name in ("exif", "image"):
            found = self._fields.get(("image" if name == "exif" else "exif", tag))
        return found

    def number(self, name: str, tag: int) -> float | None:
        found = self._find(name, tag)
        value = found[0].number(found[1]) if found else None
        return value if value is not None and math.isfinite(value) else None

    def numbers(self, name: str, tag: int, count: int) -> list[float]:
        """``count`` finite numbers; none where there are fewer."""
        found = self._find(name, tag)
        values = found[0].numbers(found[1], count) if found else []
        return values if len(values) == count and all(map(math.isfinite, values)) else []

    def text(self, name: str, tag: int) -> str | None:
        found = self._find(name, tag)
        return found[0].text(found[1]) if found else None

    def drive(self, make: str | None) -> Drive:
        found = self._find("exif", 0x927C)
        return read_drive(*found, make) if found else Drive()

    def thumbnail(self) -> bytes:
        """The JPEG of the second directory, which EXIF keeps for a small version."""
        for tiff, _ in self._blocks:
            small = tiff.directory(tiff.next_directory(tiff.first))
            at, count = (_pointer(tiff, small.get(tag)) for tag in (0x0201, 0x0202))
            data = tiff.read(at, min(count, _SHORT_HEAD))
            if data.startswith(JPEG_MAGIC):
                return data
        return b""

    def size(self) -> tuple[int, int] | None:
        """The largest picture that the directories and their children speak of."""
        sizes = []
        for tiff, image in self._blocks:
            children = [int(v) for v in tiff.numbers(image.get(0x014A), 16)]
            for fields in (image, *(tiff.directory(at) for at in children)):
                width, height = (_pointer(tiff, fields.get(tag)) for tag in (0x0100, 0x0101))
                if width > 0 and height > 0:
                    sizes.append((width, height))
        return max(sizes, default=None)


def _pointer(tiff: TiffReader, field: Field | None) -> int:
    value = tiff.number(field)
    return int(value) if value is not None and math.isfinite(value) else 0


def _blocks(file: BinaryIO) -> list[tuple[BinaryIO, int]]:
    """(file, offset) of every TIFF structure that holds EXIF."""
    file.seek(0)
    head = file.read(16)
    if head.startswith((b"II", b"MM")):
        return [(file, 0)]
    data = _start(file, head)
    if head.startswith(JPEG_MAGIC):
        return [
            (io.BytesIO(data[start + 6 : end]), 0)
            for marker, start, end in jpeg_segments(data)
            if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0"
        ]
    if head.startswith(PNG_MAGIC):
        file.seek(0)
        data = file.read()  # the chunk may follow the pixels
        chunks = [(s, e) for kind, s, e in png_chunks(data) if kind == b"eXIf"]
        return [(io.BytesIO(data[s:e].removeprefix(b"Exif\0\0")), 0) for s, e in chunks]
    if head.startswith(b"FUJIFILM"):  # RAF: an entire JPEG at the offset that byte 84 tells
        preview = data[int.from_bytes(data[84:88], "big") :]
        return _blocks(io.BytesIO(preview)) if preview.startswith(JPEG_MAGIC) else []
    if head.startswith(b"\0MRM"):  # MRW: the block TTW
        at = data.find(b"\0TTW")
        return [(io.BytesIO(data[at + 8 :]), 0)] if at >= 0 else []
    if head[4:8] == b"ftyp":  # CR3: the boxes CMT1 (image) and CMT2 (EXIF)
        found = (data.find(name) for name in (b"CMT1", b"CMT2"))
        return [(io.BytesIO(data[at + 4 :]), 0) for at in found if at >= 0]
    return []


def _start(file: BinaryIO, head: bytes) -> bytes:
    """The part of a file that holds its metadata; less of a JPEG where all of it lies there."""
    file.seek(0)
    data = file.read(_SHORT_HEAD if head.startswith(JPEG_MAGIC) else _HEAD)
    complete = any(marker == 0xDA for marker, _, _ in jpeg_segments(data))
    return data if complete or len(data) < _SHORT_HEAD else data + file.read(_HEAD - len(data))


def picture_size(file: BinaryIO, tags: Tags) -> tuple[int, int] | None:
    """Width and height as stored; None where only a decoder could tell."""
    file.seek(0)
    head = file.read(24)
    if head.startswith(PNG_MAGIC):
        size = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    elif head.startswith(JPEG_MAGIC):
        data = _start(file, head)
        frames = (
            data[start + 1 : start + 5]
            for marker, start, _ in jpeg_segments(data)
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        )
        found = next(frames, b"").ljust(4, b"\0")
        size = int.from_bytes(found[2:4], "big"), int.from_bytes(found[:2], "big")
    else:
        return tags.size()
    return size if all(size) else None
