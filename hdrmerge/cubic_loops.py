"""Cubic interpolation, for the loops that sample pictures (``warp``, ``align_refine``).

Loops are kept on disk with these inlined, and do not notice a change here: remove the ``.nbi``
files beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray

_ONE, _TWO, _THREE = np.float32(1.0), np.float32(2.0), np.float32(3.0)
_A = np.float32(-0.75)  # slope of the cubic kernel one pixel away, as OpenCV has it


@compiled
def kernel(
    share: FloatArray, before: FloatArray, at: FloatArray, after: FloatArray, beyond: FloatArray
) -> None:
    """What cubic interpolation gives the pixels -1, 0, 1 and 2, (n,) each, ``share`` (n,) on the
    way from 0 to 1 (Keys 1981, eq. 4)."""
    for i in range(share.size):
        t = share[i]
        s = _ONE - t
        before[i] = _A * t * s * s
        at[i] = ((_A + _TWO) * t - (_A + _THREE)) * t * t + _ONE
        after[i] = ((_A + _TWO) * s - (_A + _THREE)) * s * s + _ONE
        beyond[i] = _A * s * t * t


@compiled
def between(
    a: FloatArray,
    b: FloatArray,
    c: FloatArray,
    d: FloatArray,
    w: FloatArray,
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    s: FloatArray,
    t: FloatArray,
    u: FloatArray,
    v: FloatArray,
    i: int,
) -> np.float32:
    """What four rows hold at pixel ``i``, and the three after it, interpolated by ``w`` to ``z``
    along the rows and by ``s`` to ``v`` across them."""
    value: np.float32 = (
        (a[i] * w[i] + a[i + 1] * x[i] + a[i + 2] * y[i] + a[i + 3] * z[i]) * s[i]
        + (b[i] * w[i] + b[i + 1] * x[i] + b[i + 2] * y[i] + b[i + 3] * z[i]) * t[i]
        + (c[i] * w[i] + c[i + 1] * x[i] + c[i + 2] * y[i] + c[i + 3] * z[i]) * u[i]
        + (d[i] * w[i] + d[i + 1] * x[i] + d[i + 2] * y[i] + d[i + 3] * z[i]) * v[i]
    )
    return value


@compiled
def run_end(column: NDArray[np.int32], row: NDArray[np.int32], start: int, end: int) -> int:
    """Up to which pixel, from ``start`` on, ``column`` and ``row`` stay what they are there."""
    c, r, n = column[start], row[start], start
    while n + 32 <= end:
        differ = np.int32(0)
        for i in range(32):
            differ |= (column[n + i] ^ c) | (row[n + i] ^ r)
        if differ != 0:
            break
        n += 32
    while n < end and column[n] == c and row[n] == r:
        n += 1
    return n
