"""A camera's memory card for tests: small photographs with the metadata cameras write, and the
truth about which of them are one bracket."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hdrmerge.frames import CaptureSettings
from hdrmerge.simulate.dng import mosaic, write_dng
from hdrmerge.simulate.exif import _NOMINAL_TIMES

SIZE = (64, 96)
_HALF_TIMES = np.array(
    [
        *(1 / np.array([8000, 6000, 4000, 3000, 2000, 1500, 1000, 750, 500, 350, 250, 180, 125])),
        *(1 / np.array([90, 60, 45, 30, 20, 15, 10, 8, 6, 4])),
        *(0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 30),
    ]
)
Scene = NDArray[np.float32]
Tag = tuple[int, int, Any]  # number, TIFF type, values


@dataclass(frozen=True)
class Body:
    """What a camera writes. ``marks``: ExposureMode 2; ``maker``: canon, nikon, sony or none."""

    make: str = "Maker"
    model: str = "Model"
    serial: str | None = "1234"
    exif: bool = True
    sub_seconds: bool = True
    bias: bool = False
    marks: bool = False
    maker: str | None = None


@dataclass
class Truth:
    """Sets of shots (stems' files) that are brackets, and the files that are in none."""

    brackets: list[tuple[str, ...]] = field(default_factory=list)
    singles: list[str] = field(default_factory=list)


class Card:
    """Takes photographs into ``folder`` and remembers the truth."""

    def __init__(self, folder: Path, rng: np.random.Generator, body: Body, **how: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.rng, self.body = folder, rng, body
        self.truth = Truth()
        self.now: datetime = how.get("now", datetime(2024, 5, 6, 9, 0, 0, 120_000))
        self.counter: int = how.get("counter", 1)
        self.prefix: str = how.get("prefix", "IMG_")
        self.raw: str = how.get("raw", "no")  # no, beside, only
        self.frozen: bool = how.get("frozen", False)
        self.pause = 0.25

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def shoot(
        self,
        scene: Scene,
        stops: float,
        *,
        base: float = 1 / 60,
        vary: str = "time",
        marked: bool = False,
        shot: int = 0,
        offset: float = 0.0,
        focal: float = 24.0,
        shake: float = 0.0,
        **how: Any,
    ) -> str:
        """One photograph at ``stops`` from ``base``; the name of its file."""
        time, f_number, iso = base, 8.0, 100.0
        if vary == "time":
            time = base * 2.0**stops
        elif vary == "iso":
            iso = round(400 * 2.0**stops)
        else:
            f_number = round(8.0 * 2.0 ** (-stops / 2), 1)
        nominal = _HALF_TIMES if how.get("halves") else _NOMINAL_TIMES
        time = float(nominal[np.argmin(np.abs(np.log(nominal / time)))])
        settings = CaptureSettings(
            exposure_time=time,
            f_number=f_number,
            iso=iso,
            captured_at=self.now if self.body.sub_seconds else self.now.replace(microsecond=0),
            camera_make=self.body.make,
            camera_model=self.body.model,
            focal_length=focal,
        )
        name = f"{self.prefix}{self.counter:04d}"
        self.counter = self.counter % 9999 + 1
        picture = scene if not shake else self._shaken(scene, shake)
        linear = picture * np.float32(2.0**stops)
        linear = linear + self.rng.normal(0, 0.002, linear.shape)
        if self.raw != "only":
            extra = _Marks(self.body, marked, shot, offset, self.counter)
            (self.folder / f"{name}.JPG").write_bytes(jpeg(linear, settings, extra))
        if self.raw != "no":
            rgb = np.repeat(linear[..., None], 3, axis=2).clip(0, 1)
            cfa = np.round(mosaic(rgb) * 16000).astype(np.uint16)
            write_dng(self.folder / f"{name}.DNG", cfa, settings=settings, white=16000)
        if not self.frozen:
            self.wait(time + self.pause)
        return f"{name}.{'JPG' if self.raw == 'no' else 'DNG'}"

    def bracket(self, scene: Scene, stops: Sequence[float], **how: Any) -> list[str]:
        """A bracket in the order of ``stops``, remembered as one."""
        names = []
        pause_at = how.pop("pause_at", None)
        skip = how.pop("skip", None)
        for k, s in enumerate(stops):
            if pause_at is not None and k == pause_at[0]:
                self.wait(pause_at[1])
            name = self.shoot(scene, s, marked=True, shot=k + 1, offset=s, **how)
            if k == skip:
                for path in self.folder.glob(name.rpartition(".")[0] + ".*"):
                    path.unlink()
            else:
                names.append(name)
        self.truth.brackets.append(tuple(names))
        return names

    def single(self, scene: Scene, stops: float = 0.0, **how: Any) -> str:
        name = self.shoot(scene, stops, **how)
        self.truth.singles.append(name)
        return name

    def _shaken(self, scene: Scene, share: float) -> Scene:
        reach = max(1, round(share * scene.shape[1]))
        dy, dx = self.rng.integers(-reach, reach + 1, 2)
        return np.asarray(np.roll(scene, (dy, dx), (0, 1)))


def make_scene(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> Scene:
    """(H, W) radiance of a made-up room: smooth light, furniture, bright windows."""
    height, width = size
    log = np.zeros(size)
    for cells in (3, 6, 12, 24):
        rough = rng.normal(0, 1, (cells, round(cells * width / height)))
        smooth = Image.fromarray(rough.astype(np.float32)).resize((width, height), Image.BICUBIC)
        log += np.asarray(smooth) * 2.0 / cells**0.5
    for _ in range(14):
        y, x = rng.integers(0, height - 4), rng.integers(0, width - 4)
        h, w = rng.integers(4, height // 2), rng.integers(4, width // 3)
        log[y : y + h, x : x + w] += rng.normal(0, 1.3)
    log += rng.normal(0, 0.15, size)
    radiance = 2.0**log
    return np.asarray(radiance * 0.18 / np.median(radiance), dtype=np.float32)


@dataclass(frozen=True)
class _Marks:
    body: Body
    marked: bool
    shot: int
    offset: float
    number: int


def jpeg(linear: NDArray[Any], settings: CaptureSettings, marks: _Marks) -> bytes:
    """A JPEG of linear values (H, W), sRGB-encoded, with EXIF."""
    x = np.clip(linear, 0, 1)
    code = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    picture = Image.fromarray(np.round(code * 255).astype(np.uint8))
    buffer = io.BytesIO()
    exif = exif_bytes(settings, marks) if marks.body.exif else b""
    picture.save(buffer, "JPEG", quality=90, **({"exif": b"Exif\0\0" + exif} if exif else {}))
    return buffer.getvalue()


def exif_bytes(settings: CaptureSettings, marks: _Marks) -> bytes:
    body, when = marks.body, settings.captured_at
    assert when is not None
    stamp = when.strftime("%Y:%m:%d %H:%M:%S")
    exif: list[Tag] = [(0x9003, 2, stamp), (0x8827, 3, [round(settings.iso or 0)])]
    for tag, value in ((0x829A, settings.exposure_time), (0x829D, settings.f_number)):
        exif.append((tag, 5, [_fraction(value or 0)]))
    exif.append((0x920A, 5, [_fraction(settings.focal_length or 0)]))
    if body.sub_seconds:
        exif.append((0x9291, 2, f"{when.microsecond // 10_000:02d}"))
    if body.serial:
        exif.append((0xA431, 2, body.serial))
    if body.bias:
        exif.append((0x9204, 10, [_fraction(marks.offset)]))
    if body.marks:
        exif.append((0xA402, 3, [2 if marks.marked else 0]))
    image: list[Tag] = [(0x010F, 2, body.make), (0x0110, 2, body.model)]
    return tiff_bytes(image, exif, lambda at: maker_note(marks, at))


def maker_note(marks: _Marks, at: int) -> bytes:
    """The bracketing tags as the maker lays them out, for a note that begins at ``at``."""
    on = marks.marked
    if marks.body.maker == "canon":
        info = [0] * 34
        info[16], info[17] = (0xFFFF if on else 0), round(marks.offset * 32) & 0xFFFF
        file_info = [0, 0, 0, 1 if on else 0, 0, marks.shot if on else 0]
        return directory([(0x4, 3, info), (0x8, 4, [marks.number]), (0x93, 3, file_info)], at)
    if marks.body.maker == "nikon":
        tags: list[Tag] = [(0x19, 10, [_fraction(marks.offset)]), (0x89, 3, [0x11 if on else 0])]
        tags.append((0xA7, 4, [marks.number]))
        inner = b"II*\0" + struct.pack("<I", 8) + directory(tags, 8)
        return b"Nikon\0\x02\x10\0\0" + inner
    if marks.body.maker == "sony":
        tags = [(0xB049, 3, [5 if on else 0]), (0xB04A, 3, [marks.shot if on else 0])]
        return b"SONY DSC \0\0\0" + directory(tags, at + 12)
    if marks.body.maker == "panasonic":
        tags = [(0x2A, 3, [2 if on else 0]), (0x2B, 4, [marks.shot]), (0x45, 3, [1 if on else 0])]
        return b"Panasonic\0\0\0" + directory(tags, at + 12)
    return b""


def tiff_bytes(image: list[Tag], exif: list[Tag], note: Any = lambda at: b"") -> bytes:
    """A little-endian TIFF structure with an image and an EXIF directory and a maker note."""
    image = [*image, (0x8769, 4, [0])]
    at = 8 + len(directory(image, 8))
    image[-1] = (0x8769, 4, [at])
    if note(0):
        blank = [*exif, (0x927C, 7, note(0))]
        end = at + len(directory(blank, at))
        blank[-1] = (0x927C, 7, note(end - len(note(0))))
        exif = blank
    return b"II*\0" + struct.pack("<I", 8) + directory(image, 8) + directory(exif, at)


def directory(tags: list[Tag], offset: int) -> bytes:
    """One directory at ``offset``; the last tag given comes last in the extra data."""
    codes = {3: "H", 4: "I", 8: "h"}
    table: dict[int, bytes] = {}
    extra = b""
    extra_at = offset + 2 + 12 * len(tags) + 4
    for tag, kind, values in tags:
        if kind == 2:
            payload = values.encode() + b"\0"
            count = len(payload)
        elif kind == 7:
            payload, count = values, len(values)
        elif kind in (5, 10):
            code = "I" if kind == 5 else "i"
            payload = b"".join(struct.pack(f"<2{code}", *pair) for pair in values)
            count = len(values)
        else:
            payload, count = struct.pack(f"<{len(values)}{codes[kind]}", *values), len(values)
        where = payload.ljust(4, b"\0")
        if len(payload) > 4:
            where = struct.pack("<I", extra_at + len(extra))
            extra += payload
        table[tag] = struct.pack("<HHI", tag, kind, count) + where
    body = b"".join(table[tag] for tag in sorted(table))
    return struct.pack("<H", len(tags)) + body + struct.pack("<I", 0) + extra


def _fraction(value: float) -> tuple[int, int]:
    f = Fraction(value).limit_denominator(10_000)
    return f.numerator, f.denominator
