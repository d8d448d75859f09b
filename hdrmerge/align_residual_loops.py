"""The loops of ``align_refine``: a frame beside the reference, through a homography."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.cubic_loops import between, kernel, run_end
from hdrmerge.frames import FloatArray
from hdrmerge.median_loops import median

Float64 = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]

PAD = 2  # pixels that a frame is enlarged by on each side before it is sampled


@compiled
def _places(
    matrix: Float64,
    y: int,
    shape: tuple[int, int],
    column: Ints,
    row: Ints,
    across: FloatArray,
    down: FloatArray,
) -> None:
    """Where row ``y`` lies in a frame of ``shape``, at most a pixel outside: columns less the
    pixels' own, rows, and how far on the way to the next of each."""
    a, b, c = matrix[0, 0], matrix[1, 0], matrix[2, 0]
    p = matrix[0, 1] * y + matrix[0, 2]
    q = matrix[1, 1] * y + matrix[1, 2]
    r = matrix[2, 1] * y + matrix[2, 2]
    bottom, right = np.float64(shape[0]) + 1.0 - 1e-9, np.float64(shape[1]) + 1.0 - 1e-9
    for x in range(column.size):
        at = np.float64(x)
        scale = 1.0 / (c * at + r)
        u = (a * at + p) * scale + 1.0
        v = (b * at + q) * scale + 1.0
        u = u if u > 0.0 else 0.0
        v = v if v > 0.0 else 0.0
        u = u if u < right else right
        v = v if v < bottom else bottom
        i, j = np.int32(u), np.int32(v)
        column[x], row[x] = i - np.int32(x), j
        across[x], down[x] = np.float32(u - np.float64(i)), np.float32(v - np.float64(j))


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
    reference: FloatArray,
    out: FloatArray,
) -> None:
    """Four rows interpolated by ``w`` to ``z`` along and by ``s`` to ``v`` across them, less the
    ``reference``."""
    for i in range(out.size):
        out[i] = between(a, b, c, d, w, x, y, z, s, t, u, v, i) - reference[i]


@compiled
def residual(frame: FloatArray, reference: FloatArray, matrix: Float64, out: FloatArray) -> None:
    """``out`` (h, w): the ``frame`` (H + 2 PAD, W + 2 PAD) through ``matrix`` (3, 3), which maps
    the reference's pixels to those of the frame without its margin, less the ``reference``."""
    height, width = out.shape
    shape = frame.shape[0] - 2 * PAD, frame.shape[1] - 2 * PAD
    column, row = np.empty(width, np.int32), np.empty(width, np.int32)
    part = np.empty((2, width), np.float32)
    w, s = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    for y in range(height):
        _places(matrix, y, shape, column, row, part[0], part[1])
        kernel(part[0], w[0], w[1], w[2], w[3])
        kernel(part[1], s[0], s[1], s[2], s[3])
        n = 0
        while n < width:
            start, shift, top = n, column[n], row[n]
            n = run_end(column, row, start, width)
            left, right = start + shift, n + shift + 3
            _sample(
                frame[top, left:right],
                frame[top + 1, left:right],
                frame[top + 2, left:right],
                frame[top + 3, left:right],
                w[0, start:n],
                w[1, start:n],
                w[2, start:n],
                w[3, start:n],
                s[0, start:n],
                s[1, start:n],
                s[2, start:n],
                s[3, start:n],
                reference[y, start:n],
                out[y, start:n],
            )


@compiled
def _nearest(matrix: Float64, y: int, shape: tuple[int, int], column: Ints, row: Ints) -> None:
    """The pixels of a frame of ``shape`` nearest to row ``y``: columns less the pixels' own, and
    rows, -1 outside."""
    a, b, c = matrix[0, 0], matrix[1, 0], matrix[2, 0]
    p = matrix[0, 1] * y + matrix[0, 2]
    q = matrix[1, 1] * y + matrix[1, 2]
    r = matrix[2, 1] * y + matrix[2, 2]
    bottom, right = np.float64(shape[0]), np.float64(shape[1])
    for x in range(column.size):
        at = np.float64(x)
        scale = 1.0 / (c * at + r)
        u = (a * at + p) * scale + 0.5
        v = (b * at + q) * scale + 0.5
        inside = (u >= 0.0) & (v >= 0.0) & (u < right) & (v < bottom)
        column[x] = np.int32(u if inside else 0.0) - np.int32(x if inside else 0)
        row[x] = np.int32(v if inside else -1.0)


@compiled
def _shown(inner: Bytes, usable: Bytes, seen: Bytes, both: Bytes) -> None:
    for i in range(seen.size):
        shown = np.uint8(inner[i] > 0)
        seen[i] = shown
        both[i] = shown & np.uint8(usable[i] > 0)


@compiled
def _count(codes: Bytes, weights: Bytes, table: Ints) -> None:
    for i in range(codes.size):
        table[i & 3, codes[i]] += np.int32(weights[i])


@compiled
def overlap(
    codes: Bytes,
    inner: Bytes,
    reference: Bytes,
    usable: Bytes,
    matrix: Float64,
    both: Bytes,
    seen: Bytes,
    counts: NDArray[np.int64],
) -> None:
    """Where a frame's and the reference's pixels can be used.

    ``codes`` and ``inner`` (H, W) of the frame, ``reference`` and ``usable`` (h, w) of the
    reference, the second of each not 0 where usable. ``seen`` (h, w): 1 where the frame's nearest
    pixel is, ``both``: where the reference's is too; ``counts`` (2, 256): the codes there.
    """
    height, width = both.shape
    column, row = np.empty(width, np.int32), np.empty(width, np.int32)
    table = np.zeros((8, 256), np.int32)  # four each: neighbours, often alike, need not wait
    for y in range(height):
        _nearest(matrix, y, codes.shape, column, row)
        n = 0
        while n < width:
            start, shift, line = n, column[n], row[n]
            n = run_end(column, row, start, width)
            if line < 0:
                seen[y, start:n] = 0
                both[y, start:n] = 0
                continue
            left, right = start + shift, n + shift
            _shown(inner[line, left:right], usable[y, start:n], seen[y, start:n], both[y, start:n])
            _count(codes[line, left:right], both[y, start:n], table[:4])
        _count(reference[y], both[y], table[4:])
    for code in range(256):
        for side in range(2):
            t = 4 * side
            counts[side, code] = (
                table[t, code] + table[t + 1, code] + table[t + 2, code] + table[t + 3, code]
            )


@compiled
def deviations(residual: FloatArray, codes: Bytes, usable: Bytes, step: int, out: Float64) -> int:
    """Mean codes ``out[0]`` and median sizes of the residual ``out[1]`` (G,) of G groups of equally
    many usable pixels, every ``step``-th each way, in the order of their codes; their number."""
    height, width = residual.shape
    counts = np.zeros(257, np.int64)
    for y in range(0, height, step):
        for x in range(0, width, step):
            if usable[y, x] > 0:
                counts[np.int64(codes[y, x]) + 1] += 1
    places = counts
    for code in range(256):
        places[code + 1] += places[code]
    number = places[256]
    sizes, order = np.empty(number, np.float32), np.empty(number, np.uint8)
    for y in range(0, height, step):
        for x in range(0, width, step):
            if usable[y, x] > 0:
                at = places[codes[y, x]]
                places[codes[y, x]] += 1
                order[at] = codes[y, x]
                sizes[at] = abs(residual[y, x])
    groups = out.shape[1]
    if number < groups:
        return int(number)
    start = 0
    for g in range(groups):
        end = start + number // groups + (1 if g < number % groups else 0)
        total = 0
        for i in range(start, end):
            total += order[i]
        out[0, g] = np.float64(total) / (end - start)
        out[1, g] = median(sizes[start:end])
        start = end
    return int(number)
