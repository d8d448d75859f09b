"""EXIF of JPEG, PNG, TIFF and RAW files: capture settings, orientation, colour space.

Cameras leave out or garble what they do not know, each in its own way; whatever cannot be true is
None here. Times that makers round (1/30 s for 1/32 s) stay as stored: the pixels tell the ratio.
Tags are those of Exif 2.32 (CIPA DC-008) and TIFF/EP, which cameras put in either directory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import BinaryIO

from hdrmerge.frames import CaptureSettings, Location
from hdrmerge.io.makernotes import Drive
from hdrmerge.io.tags import Tags, picture_size, read_tags


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

    @property
    def made_here(self) -> bool:
        """Whether it is a picture that hdrmerge made, and no photograph."""
        return (self.software or "").startswith("hdrmerge ")


def read_shot(file: BinaryIO) -> Shot:
    """Everything about a shot that its metadata say. Never raises on damage."""
    tags = read_tags(file)
    exif = _exif(tags)
    mode = tags.number("exif", 0xA402)  # ExposureMode: 0 auto, 1 manual, 2 auto bracket
    drive = tags.drive(exif.settings.camera_make)
    if mode == 2 and drive.bracketing is None:
        drive = replace(drive, bracketing=True)
    return Shot(
        exif=exif,
        size=picture_size(file, tags),
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
    return _exif(read_tags(file))


def _exif(tags: Tags) -> Exif:
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


def _within(value: float | None, low: float, high: float) -> float | None:
    return value if value is not None and low <= value <= high else None


def _exposure_time(tags: Tags) -> float | None:
    time = _within(tags.number("exif", 0x829A), 1e-7, 1e6)
    if time is None:
        apex = _within(tags.number("exif", 0x9201), -20.0, 24.0)  # Tv = -log2 t
        time = None if apex is None else 2.0**-apex
    return time


def _f_number(tags: Tags) -> float | None:
    f_number = _within(tags.number("exif", 0x829D), 0.3, 1024.0)
    if f_number is None:
        apex = _within(tags.number("exif", 0x9202), -2.0, 20.0)  # Av = 2 log2 N
        # A lens without contacts is written as 0, which would be f/1.
        f_number = None if not apex else 2.0 ** (apex / 2)
    return f_number


def _iso(tags: Tags) -> float | None:
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


def _captured_at(tags: Tags) -> datetime | None:
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


def _utc_offset(tags: Tags) -> timedelta | None:
    """What local time is ahead of UTC, written as +02:00."""
    text = tags.text("exif", 0x9011) or tags.text("exif", 0x9010) or ""
    match = re.fullmatch(r"([-+])(\d\d):(\d\d)", text)
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        return None
    ahead = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -ahead if match[1] == "-" else ahead


def _location(tags: Tags) -> Location | None:
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
