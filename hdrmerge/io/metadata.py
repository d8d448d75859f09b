"""What is known of a photograph, as the EXIF of a picture and as the attributes of an EXR.

The EXIF block (Exif 2.32, CIPA DC-008) is written from ``CaptureSettings`` and from nothing else:
orientation is upright, and no thumbnail, maker note or serial number comes along.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import hdrmerge
from hdrmerge.frames import CaptureSettings, Location

Values = tuple[int, int, bytes]  # TIFF's type, count, little-endian payload
_LIMIT = 2**32 - 1
EXIF_POINTER, GPS_POINTER = 0x8769, 0x8825


@dataclass(frozen=True, slots=True)
class Directories:
    """The three directories of an EXIF block: tag -> values."""

    image: dict[int, Values]
    exif: dict[int, Values]
    gps: dict[int, Values]


def directories(settings: CaptureSettings, *, srgb: bool = True) -> Directories:
    """EXIF fields of ``settings``; ``srgb``: whether the picture's codes are sRGB's."""
    moment = settings.captured_at
    when = None if moment is None else _text(f"{moment:%Y:%m:%d %H:%M:%S}")
    fraction = f"{moment.microsecond:06d}".rstrip("0") if moment is not None else ""
    image = {
        0x010F: _text(settings.camera_make),
        0x0110: _text(settings.camera_model),
        0x0112: _short(1),
        0x0131: _text(f"hdrmerge {hdrmerge.__version__}"),
        0x0132: when,
        0x013B: _text(settings.artist),
        0x8298: _text(settings.copyright),
    }
    exif = {
        0x829A: _rational(settings.exposure_time),
        0x829D: _rational(settings.f_number),
        0x8827: _short(settings.iso),
        0x9000: (7, 4, b"0232"),
        0x9003: when,
        0x9011: _text(_offset(settings.utc_offset)),
        0x9291: _text(fraction or None),
        0x920A: _rational(settings.focal_length),
        0xA001: _short(1 if srgb else 65535),
        0xA405: _short(settings.focal_length_35mm),
        0xA434: _text(settings.lens_model),
    }
    place = settings.location
    gps = {} if place is None else _gps(place)
    kept = [{t: v for t, v in d.items() if v is not None} for d in (image, exif, gps)]
    return Directories(*kept)


def exif_block(settings: CaptureSettings, *, srgb: bool = True) -> bytes:
    """A TIFF structure as JPEG's APP1 (behind ``Exif\\0\\0``), PNG's eXIf and others hold it."""
    found = directories(settings, srgb=srgb)
    start = 8
    image = {**found.image, EXIF_POINTER: _long(0)}
    if found.gps:
        image[GPS_POINTER] = _long(0)
    exif_at = start + len(directory_bytes(image, start))
    gps_at = exif_at + len(directory_bytes(found.exif, exif_at))
    image[EXIF_POINTER] = _long(exif_at)
    if found.gps:
        image[GPS_POINTER] = _long(gps_at)
    block = struct.pack("<2sHI", b"II", 42, start) + directory_bytes(image, start)
    block += directory_bytes(found.exif, exif_at)
    return block + (directory_bytes(found.gps, gps_at) if found.gps else b"")


def directory_bytes(fields: Mapping[int, Values], offset: int) -> bytes:
    """A little-endian TIFF directory that lies at ``offset``, its longer values behind it."""
    extra_at = offset + 2 + 12 * len(fields) + 4
    table, extra = struct.pack("<H", len(fields)), b""
    for tag, (kind, count, payload) in sorted(fields.items()):
        if len(payload) > 4:
            where = struct.pack("<I", extra_at + len(extra))
            extra += payload + b"\0" * (len(payload) % 2)  # values begin at even offsets
        else:
            where = payload.ljust(4, b"\0")
        table += struct.pack("<HHI", tag, kind, count) + where
    return table + struct.pack("<I", 0) + extra


def attributes_of(settings: CaptureSettings) -> dict[str, Any]:
    """``settings`` under the names of OpenEXR's standard attributes; None where unknown."""
    moment, place = settings.captured_at, settings.location
    offset = settings.utc_offset
    return {
        "expTime": settings.exposure_time,
        "isoSpeed": settings.iso,
        "aperture": settings.f_number,
        "nominalFocalLength": settings.focal_length,
        "hdrmerge:focalLength35mm": settings.focal_length_35mm,
        "cameraMake": settings.camera_make,
        "cameraModel": settings.camera_model,
        "lensModel": settings.lens_model,
        "capDate": None if moment is None else f"{moment:%Y:%m:%d %H:%M:%S}",
        # OpenEXR's sign: what is added to local time to give UTC
        "utcOffset": None if offset is None else -offset.total_seconds(),
        "hdrmerge:artist": settings.artist,
        "owner": settings.copyright,
        "latitude": None if place is None else place.latitude,
        "longitude": None if place is None else place.longitude,
        "altitude": None if place is None else place.altitude,
    }


def settings_of(attributes: Mapping[str, Any]) -> CaptureSettings:
    """What ``attributes_of`` gave, back from a file; what is absent or absurd is None."""
    return CaptureSettings(
        exposure_time=_number(attributes, "expTime"),
        f_number=_number(attributes, "aperture"),
        iso=_number(attributes, "isoSpeed"),
        captured_at=_moment(attributes),
        utc_offset=_utc_offset(attributes),
        camera_make=_string(attributes, "cameraMake"),
        camera_model=_string(attributes, "cameraModel"),
        lens_model=_string(attributes, "lensModel"),
        focal_length=_number(attributes, "nominalFocalLength"),
        focal_length_35mm=_number(attributes, "hdrmerge:focalLength35mm"),
        artist=_string(attributes, "hdrmerge:artist"),
        copyright=_string(attributes, "owner"),
        location=_location(attributes),
    )


def _string(attributes: Mapping[str, Any], name: str) -> str | None:
    value = attributes.get(name)
    return value.strip() or None if isinstance(value, str) else None


def _number(attributes: Mapping[str, Any], name: str) -> float | None:
    value = _real(attributes.get(name))
    return value if value is not None and value > 0 else None


def _real(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _moment(attributes: Mapping[str, Any]) -> datetime | None:
    text = _string(attributes, "capDate") or _string(attributes, "CAPDATE")  # EXR, Radiance
    try:
        return datetime.strptime((text or "")[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def _utc_offset(attributes: Mapping[str, Any]) -> timedelta | None:
    offset = _real(attributes.get("utcOffset"))
    if offset is None or abs(offset) >= 86400:
        return None
    return timedelta(minutes=round(-offset / 60))


def _location(attributes: Mapping[str, Any]) -> Location | None:
    latitude, longitude = (_real(attributes.get(name)) for name in ("latitude", "longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return Location(latitude, longitude, _real(attributes.get("altitude")))


def _offset(offset: timedelta | None) -> str | None:
    """EXIF's offset of local time from UTC, such as +02:00."""
    if offset is None:
        return None
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _text(value: str | None) -> Values | None:
    if not value:
        return None
    payload = value.replace("\0", " ").encode()[:1023] + b"\0"
    return 2, len(payload), payload


def _short(value: float | None) -> Values | None:
    """A 16-bit number; Exif writes 65535 for an ISO that is larger."""
    if value is None:
        return None
    return 3, 1, struct.pack("<H", min(max(round(value), 0), 65535))


def _long(value: int) -> Values:
    return 4, 1, struct.pack("<I", value)


def _rational(*values: float | None) -> Values | None:
    """Fractions, simple where single precision cannot tell: 1/60 stays 1/60, also from an EXR."""
    payload = b""
    for value in values:
        if value is None or not 0 <= value <= _LIMIT:
            return None
        fraction = Fraction(value).limit_denominator(10_000)
        if abs(fraction - value) > 1e-6 * value:  # far below one: 1/12345, or whatever it is
            fraction = Fraction(value).limit_denominator(10_000_000)
        payload += struct.pack("<2I", fraction.numerator, fraction.denominator)
    return 5, len(values), payload


def _gps(place: Location) -> dict[int, Values | None]:
    fields: dict[int, Values | None] = {
        0: (1, 4, bytes((2, 3, 0, 0))),
        1: _text("S" if place.latitude < 0 else "N"),
        2: _degrees(place.latitude),
        3: _text("W" if place.longitude < 0 else "E"),
        4: _degrees(place.longitude),
    }
    if place.altitude is not None:
        fields[5] = (1, 1, bytes((1 if place.altitude < 0 else 0,)))  # below sea level
        fields[6] = _rational(abs(place.altitude))
    return fields


def _degrees(value: float) -> Values | None:
    """Degrees, minutes and seconds, to 3 cm."""
    thousandths = round(abs(value) * 3_600_000)
    minutes, rest = divmod(thousandths, 60_000)
    return _rational(minutes // 60, minutes % 60, rest / 1000)
