"""EXIF of JPEG, PNG, TIFF and RAW files: capture settings, orientation, colour space.

Cameras leave out or garble what they do not know, each in its own way; whatever cannot be true is
None here. Times that makers round (1/30 s for 1/32 s) stay as stored: the pixels tell the ratio.
Tags are those of Exif 2.32 (CIPA DC-008) and TIFF/EP, which cameras put in either directory.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import BinaryIO

from hdrmerge.frames import CaptureSettings, Location
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


@dataclass(frozen=True, slots=True)
class Exif:
    """What a file says of itself.

    ``orientation`` 1..8 as in EXIF (1 = upright). ``adobe_rgb``: the camera declares Adobe RGB
    (1998) by EXIF alone, without a profile.
    """

    settings: CaptureSettings = field(default_factory=CaptureSettings)
    orientation: int = 1
    adobe_rgb: bool = False


@dataclass(frozen=True, slots=True)
class Shot:
    """What tells which shots belong together, beyond ``settings``.

    ``size`` (width, height) in pixels as stored. ``bias``: exposure compensation in stops.
    ``automatic``: whether the camera metered, None where it does not say. ``drive``: bracketing as
    the maker notes it, or the standard's ExposureMode. ``serial``: the camera body's.
    ``thumbnail``: the JPEG inside the metadata, where there is one. ``software``: what wrote the
    file, the camera or a program.
    """

    exif: Exif
    size: tuple[int, int] | None
    bias: float | None
    automatic: bool | None
    drive: Drive
    serial: str | None
    thumbnail: bytes
    software: str | None


def read_shot(file: BinaryIO) -> Shot:
    """Everything about a shot that its metadata say. Never raises on damage."""
    tags = _read_tags(file)
    exif = _exif(tags)
    mode = tags.number("exif", 0xA402)  # ExposureMode: 0 auto, 1 manual, 2 auto bracket
    drive = tags.drive(exif.settings.camera_make)
    if mode == 2 and drive.bracketing is None:
        drive = replace(drive, bracketing=True)
    return Shot(
        exif=exif,
        size=_size(file, tags),
        bias=_within(tags.number("exif", 0x9204), -20.0, 20.0),
        automatic=None if mode not in (0, 1, 2) else mode == 0,
        drive=drive,
        serial=tags.text("exif", 0xA431) or tags.text("image", 0xC62F) or drive.serial,
        thumbnail=tags.thumbnail(),
        software=tags.text("image", 0x0131),
    )


def read_exif(file: BinaryIO) -> Exif:
    """EXIF of an open image file of any kind; defaults where it has none. Never raises on damage.

    ``file`` is binary and seekable; its position is not kept.
    """
    return _exif(_read_tags(file))


def _read_tags(file: BinaryIO) -> _Tags:
    tags = _Tags()
    for source, base in _blocks(file):
        tags.add(TiffReader(source, base))
    return tags


def _exif(tags: _Tags) -> Exif:
    orientation = tags.number("image", 0x0112)
    interop = tags.text("interop", 0x0001)
    space = tags.number("exif", 0xA001)
    return Exif(
        settings=CaptureSettings(
            exposure_time=_exposure_time(tags),
            f_number=_f_number(tags),
            iso=_iso(tags),
            captured_at=_captured_at(tags),
            camera_make=tags.text("image", 0x010F),
            camera_model=tags.text("image", 0x0110),
            lens_model=tags.text("exif", 0xA434),
            focal_length=_within(tags.number("exif", 0x920A), 0.1, 1e5),
            focal_length_35mm=_within(tags.number("exif", 0xA405), 1, 65535),
            utc_offset=_utc_offset(tags),
            artist=tags.text("image", 0x013B),
            copyright=tags.text("image", 0x8298),
            location=_location(tags),
        ),
        orientation=int(orientation) if orientation and orientation in range(1, 9) else 1,
        adobe_rgb=space == 2 or (space == 65535 and interop == "R03"),
    )


class _Tags:
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


def _size(file: BinaryIO, tags: _Tags) -> tuple[int, int] | None:
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


def _within(value: float | None, low: float, high: float) -> float | None:
    return value if value is not None and low <= value <= high else None


def _exposure_time(tags: _Tags) -> float | None:
    time = _within(tags.number("exif", 0x829A), 1e-7, 1e6)
    if time is None:
        apex = _within(tags.number("exif", 0x9201), -20.0, 24.0)  # Tv = -log2 t
        time = None if apex is None else 2.0**-apex
    return time


def _f_number(tags: _Tags) -> float | None:
    f_number = _within(tags.number("exif", 0x829D), 0.3, 1024.0)
    if f_number is None:
        apex = _within(tags.number("exif", 0x9202), -2.0, 20.0)  # Av = 2 log2 N
        # A lens without contacts is written as 0, which would be f/1.
        f_number = None if not apex else 2.0 ** (apex / 2)
    return f_number


def _iso(tags: _Tags) -> float | None:
    """ISO; 65535 in the 16-bit tag means that the real value stands in an extended one."""
    plain = tags.number("exif", 0x8827)
    if plain is not None and 1 <= plain < 65535:
        return plain
    kind = tags.number("exif", 0x8830)  # SensitivityType: which of the three the plain tag means
    preferred = {1: 0x8831, 2: 0x8832, 3: 0x8833, 4: 0x8832, 5: 0x8833, 6: 0x8833, 7: 0x8833}
    first = preferred.get(int(kind)) if kind is not None else None
    panasonic, exposure_index = 0x0017, 0xA215
    order = (first, 0x8832, 0x8833, 0x8831, exposure_index)
    for tag in order:
        value = _within(tags.number("exif", tag), 1, 1e8) if tag else None
        if value is not None:
            return value
    if tags.text("image", 0x010F) == "Panasonic":
        return _within(tags.number("image", panasonic), 1, 65534)
    return None


def _captured_at(tags: _Tags) -> datetime | None:
    for when, fraction in ((0x9003, 0x9291), (0x9004, 0x9292), (0x0132, 0x9290)):
        text = tags.text("exif", when)
        try:
            moment = datetime.strptime((text or "")[:19], "%Y:%m:%d %H:%M:%S")
        except ValueError:
            continue
        digits = (tags.text("exif", fraction) or "").strip()
        if digits.isascii() and digits.isdigit():
            moment = moment.replace(microsecond=int(digits[:6].ljust(6, "0")))
        return moment
    return None


def _utc_offset(tags: _Tags) -> timedelta | None:
    """What local time is ahead of UTC, written as +02:00."""
    text = tags.text("exif", 0x9011) or tags.text("exif", 0x9010) or ""
    match = re.fullmatch(r"([-+])(\d\d):(\d\d)", text)
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        return None
    ahead = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -ahead if match[1] == "-" else ahead


def _location(tags: _Tags) -> Location | None:
    """Where the photograph was taken; receivers without a fix leave zeros or nothing."""
    places = []
    for tag, negative, limit in ((2, "S", 90), (4, "W", 180)):
        parts = tags.numbers("gps", tag, 3)
        degrees = sum(part / 60**k for k, part in enumerate(parts))
        if not parts or min(parts) < 0 or degrees > limit:
            return None
        places.append(-degrees if tags.text("gps", tag - 1) == negative else degrees)
    if tags.text("gps", 9) == "V" or places == [0.0, 0.0]:
        return None
    altitude = _within(tags.number("gps", 6), 0, 1e5)
    below = tags.number("gps", 5) == 1
    return Location(places[0], places[1], -altitude if altitude and below else altitude)
