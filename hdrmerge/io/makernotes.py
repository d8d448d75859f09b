"""What cameras note about bracketing in their makers' own EXIF field.

Only the few tags that tell which shots belong together are read: Canon, Nikon, Sony, Panasonic,
Fujifilm, Olympus / OM. Tag numbers as documented by ExifTool (P. Harvey). Like all metadata here,
what cannot be true is None, and damage never raises.
"""

from __future__ import annotations

from dataclasses import dataclass

from hdrmerge.io.containers import Field, TiffReader


@dataclass(frozen=True, slots=True)
class Drive:
    """The camera's view of a shot.

    ``bracketing``: whether it was taken as part of an exposure bracket. ``stops``: its offset
    within the bracket. ``shot``: its number in the bracket or burst, from 1. ``frames``: how many
    the bracket has. ``number``: the camera's running number of shots. ``serial``: the body's.
    """

    bracketing: bool | None = None
    stops: float | None = None
    shot: int | None = None
    frames: int | None = None
    number: int | None = None
    serial: str | None = None


def read_drive(tiff: TiffReader, note: Field | None, make: str | None) -> Drive:
    """The bracketing tags of a maker note; an empty ``Drive`` where there are none known."""
    if note is None or note.count < 12:
        return Drive()
    head, maker = tiff.read(note.offset, 16), (make or "").upper()
    if head.startswith(b"Nikon\0\x02"):
        return _nikon(tiff.inside(note.offset + 10))
    if head.startswith(b"Panasonic\0"):
        return _panasonic(tiff, note.offset + 12)
    if head.startswith((b"SONY DSC", b"SONY CAM")):
        return _sony(tiff, note.offset + 12)
    if head.startswith(b"FUJIFILM"):
        return _fujifilm(tiff.inside(note.offset, "<"), int.from_bytes(head[8:12], "little"))
    if head.startswith((b"OLYMPUS\0", b"OM SYSTEM\0")):
        at = 8 if head.startswith(b"OLYMPUS") else 12
        order = "<" if tiff.read(note.offset + at, 2) == b"II" else ">"
        return _olympus(tiff.inside(note.offset, order), at + 4)
    if maker.startswith("CANON"):
        return _canon(tiff, note.offset)
    if maker.startswith("SONY"):
        return _sony(tiff, note.offset)
    return Drive()


def _canon(tiff: TiffReader, at: int) -> Drive:
    fields = tiff.directory(at)
    shot_info = tiff.numbers(fields.get(0x0004), 64)
    file_info = tiff.numbers(fields.get(0x0093), 16)
    bracketing, stops, shot = None, None, None
    if len(shot_info) > 17:  # AutoExposureBracketing: -1 on, 0 off, 1..3 on and which shot
        state = _signed(shot_info[16])
        bracketing = state != 0
        shot = state if 1 <= state <= 9 else None
        stops = _canon_stops(_signed(shot_info[17])) if bracketing else None
    if len(file_info) > 5 and _signed(file_info[3]) in (1, 3):  # AEB, ISO
        bracketing = True
        shot = _within(_signed(file_info[5]), 1, 9) or shot
    serial = _number(tiff, fields, 0x000C)
    return Drive(
        bracketing=bracketing,
        stops=stops,
        shot=shot,
        number=_number(tiff, fields, 0x0008),
        serial=str(serial) if serial else None,
    )


def _canon_stops(value: int) -> float:
    """Stops of Canon's 1/32 steps, in which 1/3 is 12 and 2/3 is 20."""
    whole, part = divmod(abs(value), 32)
    third = {12: 1 / 3, 20: 2 / 3}.get(part, part / 32)
    return (whole + third) * (1 if value >= 0 else -1)


def _nikon(tiff: TiffReader) -> Drive:
    fields = tiff.directory(tiff.first)
    mode = _number(tiff, fields, 0x0089)  # bit 4: exposure bracketing
    bracketing = None if mode is None else bool(mode & 0x10)
    return Drive(
        bracketing=bracketing,
        stops=_stops(tiff, fields, 0x0019) if bracketing else None,
        number=_number(tiff, fields, 0x00A7),
        serial=tiff.text(fields.get(0x001D)),
    )


def _sony(tiff: TiffReader, at: int) -> Drive:
    fields = tiff.directory(at)
    mode = _number(tiff, fields, 0xB049)  # 0 normal, 2 continuous, 5 exposure bracketing
    shot = _number(tiff, fields, 0xB04A)
    known = mode is not None and mode != 0xFFFF
    return Drive(
        bracketing=mode == 5 if known else None,
        shot=_within(shot, 1, 999) if known and mode == 5 else None,
    )


def _panasonic(tiff: TiffReader, at: int) -> Drive:
    fields = tiff.directory(at)
    burst = _number(tiff, fields, 0x002A)  # 2: automatic exposure bracket
    kind = _number(tiff, fields, 0x0045)  # 1, 2: three frames; 3, 4: five; 5, 6: seven
    frames = {1: 3, 2: 3, 3: 5, 4: 5, 5: 7, 6: 7}.get(kind or 0)
    bracketing = None if burst is None and kind is None else burst == 2 or frames is not None
    shot = _within(_number(tiff, fields, 0x002B), 1, 999)
    serial = tiff.text(fields.get(0x0025))
    return Drive(bracketing, None, shot if bracketing else None, frames, serial=serial)


def _fujifilm(tiff: TiffReader, at: int) -> Drive:
    fields = tiff.directory(at)
    mode = _number(tiff, fields, 0x1100)  # AutoBracketing: 1 on
    shot = _within(_number(tiff, fields, 0x1101), 1, 999)
    bracketing = None if mode is None else mode == 1
    serial = tiff.text(fields.get(0x0010))
    return Drive(bracketing, None, shot if bracketing else None, serial=serial)


def _olympus(tiff: TiffReader, at: int) -> Drive:
    fields = tiff.directory(at)
    settings = tiff.directory(_number(tiff, fields, 0x2020) or 0)
    drive = [int(v) for v in tiff.numbers(settings.get(0x0600), 6)]
    if len(drive) < 2:  # mode (0 single, 1 continuous, 2 exposure bracketing), shot, mode bits
        return Drive()
    bracketing = drive[0] == 2 or (len(drive) > 2 and drive[0] == 5 and bool(drive[2] & 1))
    return Drive(bracketing, shot=_within(drive[1], 1, 999) if bracketing else None)


def _number(tiff: TiffReader, fields: dict[int, Field], tag: int) -> int | None:
    value = tiff.number(fields.get(tag))
    return int(value) if value is not None and abs(value) < 1 << 40 else None


def _stops(tiff: TiffReader, fields: dict[int, Field], tag: int) -> float | None:
    value = tiff.number(fields.get(tag))
    return value if value is not None and abs(value) <= 20 else None


def _signed(value: float) -> int:
    """A 16-bit number as signed: makers declare either."""
    return int(value) - 0x10000 if value >= 0x8000 else int(value)


def _within(value: int | None, low: int, high: int) -> int | None:
    return value if value is not None and low <= value <= high else None
