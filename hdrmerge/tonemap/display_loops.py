"""The loops of ``display``: stored values to light, colour carried to the display, and codes.

Pixels are flat: (3 n,) RGB beside (n,) luminances.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_RED, _GREEN, _BLUE = np.float32(0.2126), np.float32(0.7152), np.float32(0.0722)  # Rec.709
_TINY = np.float32(1e-20)
_SHIFT = np.uint32(13)  # between the mantissas of half and single floats
_REBIAS = np.float32(2.0**112)  # between their exponents
_INFINITE = np.uint32(0x7C00)  # as a half float; what is above is NaN or negative
_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@compiled
def clean_halves(values: NDArray[np.uint16], ceiling: np.float32, out: FloatArray) -> None:
    """Half floats, given as their bits, from 0 to ``ceiling``; NaN is 0."""
    for i in range(out.size):
        bits = np.uint32(values[i])
        bits = bits if bits <= _INFINITE else np.uint32(0)
        x = np.uint32(bits << _SHIFT).view(np.float32) * _REBIAS
        x = x if bits < _INFINITE else ceiling
        out[i] = x if x < ceiling else ceiling


@compiled
def clean_floats(values: FloatArray, ceiling: np.float32, out: FloatArray) -> None:
    """The same of single floats."""
    for i in range(out.size):
        x = values[i]
        x = x if x > _ZERO else _ZERO
        out[i] = x if x < ceiling else ceiling


@compiled
def luminance(rgb: FloatArray, out: FloatArray) -> None:
    """Luminance of linear Rec.709."""
    for x in range(out.size):
        i = _3 * np.uint64(x)
        out[x] = _RED * rgb[i] + _GREEN * rgb[i + _1] + _BLUE * rgb[i + _2]


@compiled
def carry_alike(
    rgb: FloatArray, seen: FloatArray, shown: FloatArray, saturation: np.float32
) -> None:
    """See ``colour.carry_alike``; ``rgb`` becomes what is displayed."""
    for x in range(shown.size):
        i = _3 * np.uint64(x)
        grey, under = shown[x], seen[x]
        ratio = grey / (under if under > _TINY else _TINY)
        red = grey + saturation * (rgb[i] * ratio - grey)
        green = grey + saturation * (rgb[i + _1] * ratio - grey)
        blue = grey + saturation * (rgb[i + _2] * ratio - grey)
        red = red if red > _ZERO else _ZERO
        green = green if green > _ZERO else _ZERO
        blue = blue if blue > _ZERO else _ZERO
        peak = red if red > green else green
        peak = peak if peak > blue else blue
        # what is brighter than white as a whole is white
        grey = grey if grey < _ONE else _ONE
        excess = peak - grey
        keep = (_ONE - grey) / (excess if excess > _TINY else _TINY)
        keep = keep if peak > _ONE else _ONE
        red, green, blue = (
            grey + (red - grey) * keep,
            grey + (green - grey) * keep,
            grey + (blue - grey) * keep,
        )
        rgb[i] = red if red < _ONE else _ONE
        rgb[i + _1] = green if green < _ONE else _ONE
        rgb[i + _2] = blue if blue < _ONE else _ONE


@compiled
def codes_of(
    linear: FloatArray,
    table: NDArray[np.uint16],
    thresholds: NDArray[np.uint16],
    top: int,
    codes: NDArray[np.uint8],
) -> None:
    """Codes (h, 3 w) of ``linear`` (h, 3 w) in [0, 1]: of ``table``, 256 times the codes, with
    ``thresholds`` (any height, w) added, of which row 0 is the picture's first, and ``top`` ours.
    """
    height, width = codes.shape
    index = np.empty(width, np.uint16)
    last = np.float32(table.size - 1)
    for y in range(height):
        line, out = linear[y], codes[y]
        more = thresholds[(top + y) % thresholds.shape[0]]
        for k in range(width):
            index[k] = np.uint16(np.int32(line[k] * last + _HALF))
        for x in range(more.size):
            i = _3 * np.uint64(x)
            for at in (i, i + _1, i + _2):
                out[at] = np.uint8((table[np.uint64(index[at])] + more[x]) >> np.uint16(8))
