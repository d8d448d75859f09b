"""The size of a picture by its header alone: what a merge will need is known before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hdrmerge.errors import InputError
from hdrmerge.io.containers import TiffReader, jpeg_segments
from hdrmerge.io.detect import detect, open_input

_HEAD = 1 << 20


@dataclass(frozen=True, slots=True)
class Dimensions:
    """``width`` and ``height`` as stored, ``depth`` in bytes a value of the decoded frame, and
    ``mosaic``: whether it is a RAW, which needs more to be decoded."""

    width: int
    height: int
    depth: int = 1
    mosaic: bool = False

    @property
    def pixels(self) -> int:
        return self.width * self.height


def read_dimensions(path: Path) -> Dimensions | None:
    """What the header says; None where it says nothing. Reading the pixels tells what is wrong."""
    try:
        with open_input(path) as file:
            kind = detect(file, path)
            file.seek(0)
            if kind == "jpeg":
                return _jpeg(file.read(_HEAD))
            if kind == "png":
                return _png(file.read(32))
            if kind == "tiff":
                return _tiff(file)
            return _raw(file) if kind == "raw" else None
    except (InputError, OSError):
        return None


def _jpeg(data: bytes) -> Dimensions | None:
    for marker, start, end in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and end - start >= 6:
            height, width = (int.from_bytes(data[start + k : start + k + 2], "big") for k in (1, 3))
            return _sound(Dimensions(width, height))
    return None


def _png(head: bytes) -> Dimensions | None:
    width, height = (int.from_bytes(head[k : k + 4], "big") for k in (16, 20))
    return _sound(Dimensions(width, height, 2 if head[24:25] == b"\x10" else 1))


def _tiff(file: BinaryIO) -> Dimensions | None:
    tiff = TiffReader(file)
    fields = tiff.directory(tiff.first)
    width, height, bits = (tiff.number(fields.get(tag)) or 0 for tag in (256, 257, 258))
    return _sound(Dimensions(int(width), int(height), max(1, int(bits) // 8)))


def _raw(file: BinaryIO) -> Dimensions | None:
    import rawpy

    try:
        with rawpy.imread(file) as raw:
            sizes = raw.sizes
            return _sound(Dimensions(int(sizes.width), int(sizes.height), 2, mosaic=True))
    except (rawpy.LibRawError, ValueError, OSError, RuntimeError):
        return None


def _sound(found: Dimensions) -> Dimensions | None:
    return found if found.width > 0 and found.height > 0 else None
