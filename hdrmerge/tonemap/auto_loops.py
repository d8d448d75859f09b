"""The loops of ``auto``: logarithms, and what is shown of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_MANTISSA = np.int32(23)  # bits
_ROOT = np.int32(0x3F3504F3)  # the bits of the root of 1/2
# log2((1 + s) / (1 - s)) as a power series in s, odd powers
_LOG = (np.float32(2.8853901), np.float32(0.9617967), np.float32(0.5770780), np.float32(0.4121986))
# 2^f as a power series, from f on
_EXP = (
    np.float32(0.69314718),
    np.float32(0.24022651),
    np.float32(0.055504109),
    np.float32(0.0096181291),
    np.float32(0.0013333558),
    np.float32(0.00015403530),
)
_LIMIT = np.float32(126.0)
_OFFSET = np.int32(512)
_FADE_FROM, _FADE_OVER = np.float32(-7.5), np.float32(2.0)
_SHOULDER = np.float32(0.75)
_STOP = np.float32(1.442695)  # in units of e


@compiled
def _log2(x: np.float32) -> np.float32:
    """Of a normal positive number, to 6e-7."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32(np.int32(bits - _ROOT) >> _MANTISSA)
    mantissa = np.int32(bits - np.int32(exponent << _MANTISSA)).view(np.float32)
    s = (mantissa - _ONE) / (mantissa + _ONE)  # 0.172 at most
    q = s * s
    return np.float32(exponent) + s * (_LOG[0] + q * (_LOG[1] + q * (_LOG[2] + q * _LOG[3])))


@compiled
def _exp2(x: np.float32) -> np.float32:
    """Of what is between -126 and 126, to a share of 3e-7; beyond as there."""
    x = x if x > -_LIMIT else -_LIMIT
    x = x if x < _LIMIT else _LIMIT
    whole = np.int32(np.int32(x + (np.float32(_OFFSET) + _HALF)) - _OFFSET)
    f = x - np.float32(whole)
    p = _EXP[3] + f * (_EXP[4] + f * _EXP[5])
    p = _ONE + f * (_EXP[0] + f * (_EXP[1] + f * (_EXP[2] + f * p)))
    return np.int32(np.float32(p).view(np.int32) + np.int32(whole << _MANTISSA)).view(np.float32)


@compiled
def log2_above(values: FloatArray, floor: np.float32, out: FloatArray) -> None:
    """Log2 of ``values`` (n,), each at least ``floor``, which is a normal number."""
    for x in range(out.size):
        value = values[x]
        out[x] = _log2(value if value > floor else floor)


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
            linear = _exp2(shown[x] + (line[x] - base[x]) * (np.sqrt(fade) * detail))
            excess = (linear - _SHOULDER) / (_ONE - _SHOULDER)
            bent = _ONE - (_ONE - _SHOULDER) * _exp2(-excess * _STOP)
            row[x] = linear if linear <= _SHOULDER else bent
