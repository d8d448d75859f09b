"""The loops of ``auto``: logarithms, and what is shown of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray
from hdrmerge.powers_loops import exp2, log2

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_FADE_FROM, _FADE_OVER = np.float32(-7.5), np.float32(2.0)
_SHOULDER = np.float32(0.75)
_STOP = np.float32(1.442695)  # in units of e


@compiled
def log2_above(values: FloatArray, floor: np.float32, out: FloatArray) -> None:
    """Log2 of ``values`` (n,), each at least ``floor``, which is a normal number."""
    for x in range(out.size):
        value = values[x]
        out[x] = log2(value if value > floor else floor)


@compiled
def show(
    stops: FloatArray,
    slope: FloatArray,
    offset: FloatArray,
    above: NDArray[np.int64],
    share: FloatArray,
    table: FloatArray,
    low: np.float32,
    scale: np.float32,
    detail: np.float32,
    out: FloatArray,
) -> None:
    """Display luminance ``out`` (h, w) of ``stops`` (h, w), log2 luminances.

    The base is ``slope`` (m, w) times ``stops`` plus ``offset`` (m, w), both interpolated between
    the rows ``above`` (h,) and those below them, ``share`` (h,) of the way. Base luminance ``low``
    + i / ``scale`` is shown at ``table``[i] stops, and ``detail`` multiplies what is not base. In
    place it is five times slower.
    """
    height, width = out.shape
    last = np.float32(table.size - 1)
    base, shown = np.empty(width, np.float32), np.empty(width, np.float32)
    index = np.empty(width, np.uint32)
    for y in range(height):
        line, row = stops[y], out[y]
        j = above[y]
        k = min(j + 1, slope.shape[0] - 1)
        a, b, a_below, b_below, t = slope[j], offset[j], slope[k], offset[k], share[y]
        for x in range(width):
            factor = a[x] + (a_below[x] - a[x]) * t
            base[x] = factor * line[x] + (b[x] + (b_below[x] - b[x]) * t)
            place = (base[x] - low) * scale
            place = place if place > _ZERO else _ZERO
            place = place if place < last else last
            index[x] = np.uint32(np.int32(place))
        for x in range(width):
            shown[x] = table[np.uint64(index[x])]
        for x in range(width):
            fade = (shown[x] - _FADE_FROM) / _FADE_OVER
            fade = fade if fade > _ZERO else _ZERO
            fade = fade if fade < _ONE else _ONE
            linear = exp2(shown[x] + (line[x] - base[x]) * (np.sqrt(fade) * detail))
            excess = (linear - _SHOULDER) / (_ONE - _SHOULDER)
            bent = _ONE - (_ONE - _SHOULDER) * exp2(-excess * _STOP)
            row[x] = linear if linear <= _SHOULDER else bent
