"""The loops of ``warp``: codes to planes, and planes sampled through a homography."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.cubic_loops import between, kernel, run_end
from hdrmerge.frames import FloatArray

_ONE = np.float32(1.0)


@compiled
def planes_of(
    codes: NDArray[np.uint8], table: FloatArray, top: int, left: int, out: FloatArray
) -> None:
    """``table`` (3, 256) at ``codes`` (H, W, 3), from ``top`` and ``left`` on, as planes ``out``
    (3, h, w); beyond the border the pixels at the border are repeated."""
    _, height, width = out.shape
    low, high = max(left, 0), min(left + width, codes.shape[1])  # columns inside
    for y in range(height):
        line = codes[min(max(top + y, 0), codes.shape[0] - 1)]
        red, green, blue = out[0, y], out[1, y], out[2, y]
        for x in range(low, high):
            i = x - left
            red[i] = table[0, line[x, 0]]
            green[i] = table[1, line[x, 1]]
            blue[i] = table[2, line[x, 2]]
        for plane in (red, green, blue):
            plane[: low - left] = plane[low - left]
            plane[high - left :] = plane[high - left - 1]


@compiled
def _places(
    slope: np.float32,
    start: np.float32,
    bend: np.float32,
    weight: FloatArray,
    offset: NDArray[np.int32],
    share: FloatArray,
) -> None:
    """Where ((bend x + slope) x + start) / (weight[0] x + weight[1]) lies, for every x from 0 on:
    the integer below (n,), and how far it is on the way to the next."""
    for i in range(offset.size):
        x = np.float32(i)
        place = ((bend * x + slope) * x + start) / (weight[0] * x + weight[1])
        whole = np.int32(place)
        whole -= np.int32(1) if np.float32(whole) > place else np.int32(0)
        offset[i], share[i] = whole, place - np.float32(whole)


@compiled
def _sample(
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
    toe: np.float32,
    clipped: np.float32,
    out: FloatArray,
) -> None:
    """Squares of what four rows hold, interpolated by ``w`` to ``z`` along and by ``s`` to ``v``
    across them, less ``toe``; at least 1 where one of the nearest four reaches ``clipped``."""
    for i in range(out.size):
        root = between(a, b, c, d, w, x, y, z, s, t, u, v, i)
        linear = root * root - toe
        above = b[i + 1] if b[i + 1] > b[i + 2] else b[i + 2]
        below = c[i + 1] if c[i + 1] > c[i + 2] else c[i + 2]
        nearest = above if above > below else below
        least = _ONE if nearest >= clipped else linear
        out[i] = linear if linear > least else least


@compiled
def sample_planes(
    roots: FloatArray,
    matrix: NDArray[np.float64],
    inside: NDArray[np.int64],
    toe: np.float32,
    clipped: np.float32,
    out: FloatArray,
) -> None:
    """Linear values ``out`` (3, h, w) from planes of square roots ``roots`` (3, H, W).

    ``matrix`` (3, 3) maps pixels of ``out`` to those of ``roots``; ``inside`` (h, 2): the columns
    of each row that are sampled, first and end (0 elsewhere). ``toe`` was added before the roots
    were taken; a value that touches a root of ``clipped`` or more is at least 1.
    """
    height, width = out.shape[1:]
    column, row = np.empty(width, np.int32), np.empty(width, np.int32)
    part = np.empty((2, width), np.float32)
    w, s = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    lowest, rightmost = roots.shape[1] - 4, roots.shape[2] - 3
    a, b, c = matrix[0, 0], matrix[1, 0], matrix[2, 0]
    weight = np.empty(2, np.float32)
    for y in range(height):
        first, end = inside[y, 0], inside[y, 1]
        out[:, y, :first] = np.float32(0.0)
        out[:, y, end:] = np.float32(0.0)
        if first >= end:
            continue
        # columns less their own, rows less that of the first: small numbers, so that floats do
        p = a * first + matrix[0, 1] * y + matrix[0, 2]
        q = b * first + matrix[1, 1] * y + matrix[1, 2]
        r = c * first + matrix[2, 1] * y + matrix[2, 2]
        line = np.floor(q / r)
        weight[0], weight[1] = c, r
        _places(
            np.float32(a - r - first * c),
            np.float32(p - first * r),
            np.float32(-c),
            weight,
            column[first:end],
            part[0, first:end],
        )
        _places(
            np.float32(b - line * c),
            np.float32(q - line * r),
            np.float32(0.0),
            weight,
            row[first:end],
            part[1, first:end],
        )
        kernel(part[0], w[0], w[1], w[2], w[3])
        kernel(part[1], s[0], s[1], s[2], s[3])
        end_of_run = first
        while end_of_run < end:
            n = end_of_run
            end_of_run = run_end(column, row, n, end)
            m = end_of_run
            left = min(max(n + column[n] - 1, 0), rightmost - (m - n))
            top = min(max(np.int64(line) + row[n] - 1, 0), lowest)
            right = left + m - n + 3
            for k in range(3):
                _sample(
                    roots[k, top, left:right],
                    roots[k, top + 1, left:right],
                    roots[k, top + 2, left:right],
                    roots[k, top + 3, left:right],
                    w[0, n:m],
                    w[1, n:m],
                    w[2, n:m],
                    w[3, n:m],
                    s[0, n:m],
                    s[1, n:m],
                    s[2, n:m],
                    s[3, n:m],
                    toe,
                    clipped,
                    out[k, y, n:m],
                )
