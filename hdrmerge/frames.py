"""The nouns: capture settings, a frame, a stack of frames, a radiance map.

Arrays are (H, W, 3) RGB. Frames keep the codes their file holds (uint8, uint16 or float32) and are
linearised a band of rows at a time, so that memory stays bounded. A linear value has 0 = black
level and 1 = saturation of that frame. A homography maps reference pixel coordinates to the
frame's (pixel centres at integers, x right, y down).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import InputError

FloatArray = NDArray[np.float32]
HalfArray = NDArray[np.float16]
Matrix = NDArray[np.float64]
Codes = NDArray[Any]  # uint8, uint16 or float32
Encoding = Literal["display", "linear"]

HALF_MAX = 65504.0
_SHARED_PIXELS = 1_500_000  # what is left, or more, by the reduction that all smaller ones start at
_LARGEST = 16  # factor by which the loop reduces

REC709_CHROMATICITIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)


@dataclass(frozen=True, slots=True)
class Location:
    """Degrees north and east; ``altitude`` in metres above the sea."""

    latitude: float
    longitude: float
    altitude: float | None = None


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """How a frame was taken; whatever the file does not say is None, never zero.

    ``exposure_time`` in seconds, ``f_number``, ``iso`` as numbers, ``focal_length`` in mm.
    ``captured_at`` is local time, and ``utc_offset`` what it is ahead of UTC.
    """

    exposure_time: float | None = None
    f_number: float | None = None
    iso: float | None = None
    captured_at: datetime | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    lens_model: str | None = None
    focal_length: float | None = None
    focal_length_35mm: float | None = None
    utc_offset: timedelta | None = None
    artist: str | None = None
    copyright: str | None = None
    location: Location | None = None

    def __post_init__(self) -> None:
        for name in ("exposure_time", "f_number", "iso", "focal_length", "focal_length_35mm"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} must be positive, not {value!r}")

    @property
    def relative_exposure(self) -> float | None:
        """t * S / N^2 in s (ISO 100 and f/1 stand in for what is missing); None without a time."""
        if self.exposure_time is None:
            return None
        return self.exposure_time * (self.iso or 100.0) / 100.0 / (self.f_number or 1.0) ** 2

    @property
    def saturation_luminance(self) -> float | None:
        """What just saturates, in cd/m2, to about a stop: 78 N^2 / (0.65 S t), by ISO 12232:2019
        for an ordinary lens. None where time, aperture or ISO is not known."""
        if self.exposure_time is None or self.f_number is None or self.iso is None:
            return None
        return 78.0 * self.f_number**2 / (0.65 * self.iso * self.exposure_time)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One photograph as its file holds it.

    ``pixels`` (H, W, 3) RGB codes: uint8, uint16, or float32. ``encoding``: ``display`` for codes
    behind a camera response (integer full scale or 1.0 = saturation), ``linear`` for codes
    proportional to exposure with ``black`` and ``white`` (the codes of black level and of
    saturation). ``white_balance`` (3,) and ``to_rec709`` (3, 3) bring linear values to linear
    Rec.709 and are applied after the merge, so that clipped highlights stay neutral.
    ``transfer`` is the transfer function that the file's colour profile promises for display codes
    (``srgb``, ``linear`` or ``gamma:VALUE``): a hint, since cameras rarely keep it.
    """

    pixels: Codes
    encoding: Encoding
    settings: CaptureSettings
    path: Path
    black: float = 0.0
    white: float = 0.0  # 0 = full scale of the type
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    to_rec709: Matrix = field(default_factory=lambda: np.eye(3))
    colour_space: str = "sRGB"
    transfer: str = "srgb"
    _reduced: dict[int, Codes] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        p = self.pixels
        if p.ndim != 3 or p.shape[2] != 3 or 0 in p.shape:
            raise InputError(f"{self.path.name}: expected (H, W, 3) pixels, got {p.shape}")
        if p.dtype not in (np.uint8, np.uint16, np.float32):
            raise InputError(f"{self.path.name}: unsupported pixel type {p.dtype}")
        if self.white <= 0:
            full = 1.0 if p.dtype == np.float32 else float(np.iinfo(p.dtype).max)
            object.__setattr__(self, "white", full)
        if not self.white > self.black:
            raise InputError(f"{self.path.name}: white level {self.white} <= black {self.black}")

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def fraction(self, codes: Codes) -> FloatArray:
        """Codes as (code - black) / (white - black), float32, not clipped."""
        scale = np.float32(1.0 / (self.white - self.black))
        return (codes.astype(np.float32) - np.float32(self.black)) * scale

    def averaged(self, max_pixels: int) -> Frame:
        """The frame area-averaged to at most ``max_pixels`` (itself where small enough)."""
        height, width = self.shape
        if height * width <= max_pixels:
            return self
        scale = (max_pixels / (height * width)) ** 0.5
        size = max(1, round(height * scale)), max(1, round(width * scale))
        whole = min(height // size[0], width // size[1])
        shared = int((height * width / _SHARED_PIXELS) ** 0.5)
        first = shared if 1 < shared <= whole else whole
        image = self.reduced(first)
        if whole // first > 1:
            image, first = whole_average(image, whole // first), whole // first * first
        return replace(self, pixels=_fitted(image, size, first, self.shape))

    def reduced(self, factor: int) -> Codes:
        """Pixels (H // factor, W // factor, 3) averaged over squares; kept, since they are asked
        for more than once."""
        if factor == 1:
            return self.pixels
        if factor not in self._reduced:
            self._reduced[factor] = whole_average(self.pixels, factor)
        return self._reduced[factor]


def whole_average(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Means of squares of ``factor`` x ``factor`` pixels; a rest on the right and below is left
    out."""
    if factor == 1:
        return image
    h, w = image.shape[0] // factor, image.shape[1] // factor
    if image.dtype == np.uint8 and image.shape[2:] == (3,) and factor <= _LARGEST:
        from hdrmerge.frames_loops import reduce

        out = np.empty((h, w, 3), np.uint8)
        reduce(np.ascontiguousarray(image), factor, out)
        return out
    import cv2

    image = image[: h * factor, : w * factor]
    return np.asarray(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA))


def _fitted(
    image: NDArray[Any], size: tuple[int, int], whole: int, shape: tuple[int, int]
) -> NDArray[Any]:
    """To ``size`` (h, w), an ``image`` that a picture of ``shape`` was reduced to by ``whole``."""
    import cv2

    (height, width), (h, w) = shape, size
    if (h * whole, w * whole) == (height, width):
        return image
    if whole == 1:
        return np.asarray(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA))
    image = cv2.copyMakeBorder(image, 0, 1, 0, 1, cv2.BORDER_REPLICATE)  # for what was cut off
    # factors instead of a size, which would stretch it
    factors = {"fx": w * whole / width, "fy": h * whole / height}
    image = cv2.resize(image, None, interpolation=cv2.INTER_AREA, **factors)
    return np.asarray(image[:h, :w])


def thrice(plane: FloatArray) -> FloatArray:
    """(h, w) as (h, w, 3): numpy broadcasts over so short an axis four times slower."""
    import cv2

    return np.asarray(cv2.merge([plane] * 3), np.float32).reshape(*plane.shape, 3)


def brightest(image: FloatArray) -> FloatArray:
    """(h, w, 3) -> (h, w): the largest channel; numpy reduces so short an axis ten times slower."""
    import cv2

    red, green, blue = cv2.split(image)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What a deghoster says, at full or proxy resolution (h, w).

    ``trust`` (N, h, w) float32 in [0, 1]: how far each frame shows what the reference shows; the
    reference's row is all 1. ``fill`` (h, w, 3) float32 radiance for where no frame is
    trustworthy, with ``fill_weight`` (h, w) in [0, 1]; both None where nothing is filled.
    """

    trust: FloatArray
    fill: FloatArray | None = None
    fill_weight: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RadianceMap:
    """Scene-linear Rec.709 D65, finite, >= 0; the reference's saturation = 1.

    ``stored``: (H, W, 3) float32, or float16 where the result is to be written so anyway: half the
    memory, and a relative error of 2^-12 at most.
    """

    stored: FloatArray | HalfArray

    def __post_init__(self) -> None:
        p = self.stored
        if p.ndim != 3 or p.shape[2] != 3 or p.dtype not in (np.float32, np.float16):
            raise InputError(f"A radiance map is (H, W, 3) float32, not {p.shape} {p.dtype}.")

    @property
    def pixels(self) -> FloatArray:
        """(H, W, 3) float32; a copy where half floats are stored."""
        return to_float(self.stored)


def to_half(values: FloatArray) -> HalfArray:
    """Half floats nearest to ``values``, of at most 65504; ten times as fast as numpy's."""
    import cv2

    low = np.minimum(values, np.float32(HALF_MAX))
    return np.asarray(cv2.add(low, 0.0, dtype=cv2.CV_16F), dtype=np.float16)


def to_float(values: FloatArray | HalfArray) -> FloatArray:
    """``values`` (h, w, 3) as float32: themselves, or a copy of half floats."""
    if values.dtype == np.float32:
        return values  # type: ignore[return-value]
    import cv2

    return np.asarray(cv2.add(np.ascontiguousarray(values), 0.0, dtype=cv2.CV_32F), np.float32)
