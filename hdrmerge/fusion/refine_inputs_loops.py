"""The loops of ``refine_inputs``: detail and level of a picture, on the scale of its noise.

Pictures are planes, float32; folded planes hold the pixels (even or odd row, even or odd column) of
a plane side by side, four for each, as torch's pixel_unshuffle does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray
from hdrmerge.powers_loops import exp2, log2

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_LN2 = np.float32(np.log(2))
_GAMMA = np.float32(1 / 2.2)
_TINY = np.float32(1e-30)
_FRESH = 16  # rows after which a running sum begins anew


@compiled
def encoded(x: np.float32) -> np.float32:
    """``x`` in [0, 1] by a display's gamma, x^(1/2.2), to 1e-6."""
    return exp2(log2(x if x > _TINY else _TINY) * _GAMMA)


@compiled
def average(plane: FloatArray, size: int, out: FloatArray) -> None:
    """``out`` (h, w): averages of ``plane`` (h + size - 1, w + size - 1) over ``size`` x ``size``
    pixels."""
    high, width = out.shape
    wide = width + size - 1
    share = _ONE / np.float32(size * size)
    down = np.empty(wide, np.float32)
    work, twice = np.zeros(wide + size, np.float32), np.zeros(wide + size, np.float32)
    for y in range(high):
        row, last = out[y], plane[y + size - 1]
        if y % _FRESH == 0:  # now and then, since errors of rounding add up
            down[:] = _ZERO
            for k in range(size - 1):
                more = plane[y + k]
                for x in range(wide):
                    down[x] += more[x]
        else:
            before = plane[y - 1]
            for x in range(wide):
                down[x] -= before[x]
        for x in range(wide):
            down[x] += last[x]
            work[x] = down[x]
        row[:] = _ZERO
        at, span = 0, 1
        while True:  # sums of 1, 2, 4, ... neighbours, of those that make up the size
            if size & span:
                part = work[at:]
                for x in range(width):
                    row[x] += part[x] * share
                at += span
            if at == size:
                break
            other = work[span:]
            for x in range(wide):
                twice[x] = work[x] + other[x]
            work, twice = twice, work
            span *= 2


@compiled
def stabilise(
    plane: FloatArray,
    read: np.float32,
    gain: np.float32,
    curve: np.float32,
    clipped: FloatArray,
    out: FloatArray,
) -> None:
    """``plane`` (h, w) clipped to [0, 1], and that on the scale on which the reference's noise,
    sigma^2 = read + gain x + curve x^2, is 1."""
    high, wide = plane.shape
    root = np.sqrt(curve)
    floor = np.sqrt(read)
    share = _ONE / (_TWO * root * floor + gain)
    a, b = _TWO * root * share, _TWO * curve * share
    scale = _LN2 / root
    for y in range(high):
        source, low, high_row = plane[y], clipped[y], out[y]
        for i in range(wide):
            x = source[i]
            x = x if x > _ZERO else _ZERO
            x = x if x < _ONE else _ONE
            sigma = np.sqrt((x * curve + gain) * x + read)
            low[i] = x
            high_row[i] = scale * log2(_ONE + (a * (sigma - floor) + b * x))


@compiled
def fold(plane: FloatArray, at: int, first: int, kind: int, folded: FloatArray) -> None:
    """Put ``plane`` from the pixel (at, at) on into four planes of ``folded`` from ``first`` on.

    ``kind`` 1: with a display's gamma.
    """
    height, width = folded.shape[1], folded.shape[2]
    line = np.empty(2 * width, np.float32)
    for y in range(2 * height):
        row = plane[y + at, at:]
        i = first + 2 * (y & 1)
        even, odd = folded[i, y >> 1], folded[i + 1, y >> 1]
        if kind == 1:
            for x in range(2 * width):
                line[x] = encoded(row[x])
            row = line
        for x in range(width):
            even[x] = row[2 * x]
            odd[x] = row[2 * x + 1]


@compiled
def detail(
    larger: FloatArray,
    smaller: FloatArray,
    at: int,
    first: int,
    inside: NDArray[np.intp],
    shown: FloatArray,
    bands: FloatArray,
) -> None:
    """What ``larger`` has from the pixel (at, at) on and ``smaller``, its average, has not.

    Into the four planes of ``shown`` from ``first`` on goes the inverse hyperbolic sine of its
    half; into those of ``bands`` itself, from the pixel ``inside`` (2,) on, even.
    """
    width = shown.shape[2]
    high, wide = bands.shape[1], bands.shape[2]
    top, left = inside[0] // 2, inside[1] // 2
    reach = (len(larger) - len(smaller)) // 2
    line = np.empty(2 * width, np.float32)
    for y in range(2 * shown.shape[1]):
        a, b = larger[y + at, at:], smaller[y + at - reach, at - reach :]
        i = first + 2 * (y & 1)
        row = y // 2 - top
        for x in range(2 * width):
            line[x] = a[x] - b[x]
        if 0 <= row < high:
            part = line[2 * left :]
            even, odd = bands[i, row], bands[i + 1, row]
            for x in range(wide):
                even[x] = part[2 * x]
                odd[x] = part[2 * x + 1]
        for x in range(2 * width):
            value = line[x] * _HALF
            size = value if value > _ZERO else -value
            size = _LN2 * log2(size + np.sqrt(size * size + _ONE))
            line[x] = size if value > _ZERO else -size
        even, odd = shown[i, y >> 1], shown[i + 1, y >> 1]
        for x in range(width):
            even[x] = line[2 * x]
            odd[x] = line[2 * x + 1]
