"""The loop of ``frames``: a picture reduced by a whole factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled

_HALF = np.float32(0.5)


@compiled
def _add(one: NDArray[np.uint8], two: NDArray[np.uint8], total: NDArray[np.uint16]) -> None:
    for i in range(total.size):
        total[i] += np.uint16(one[i]) + np.uint16(two[i])


@compiled
def reduce(codes: NDArray[np.uint8], factor: int, out: NDArray[np.uint8]) -> None:
    """``out`` (h, w, 3): means of squares of ``factor`` (at most 16) x ``factor`` pixels of
    ``codes``, rounded to the nearest, halves to even."""
    height, width = out.shape[0], out.shape[1]
    n = 3 * width * factor
    below = np.zeros(n + 3 * factor, np.uint16)  # sums of a column of the square
    square = np.empty(n, np.uint16)  # sums of the square that starts at this column
    total = np.empty(3 * width, np.uint16)
    share = np.float32(1.0) / np.float32(factor * factor)
    for y in range(height):
        below[:n] = 0
        for k in range(0, factor - 1, 2):
            at = y * factor + k
            _add(codes[at].ravel(), codes[at + 1].ravel(), below[:n])
        if factor % 2:
            last = codes[y * factor + factor - 1].ravel()
            for i in range(n):
                below[i] += last[i]
        for i in range(n):
            square[i] = below[i]
        for k in range(3, 3 * factor, 3):
            right = below[k:]
            for i in range(n):
                square[i] += right[i]
        j = 0
        for i in range(0, 3 * width, 3):
            total[i] = square[j]
            total[i + 1] = square[j + 1]
            total[i + 2] = square[j + 2]
            j += 3 * factor
        row = out[y].ravel()
        for i in range(3 * width):
            mean = np.float32(total[i]) * share
            up = np.int32(mean + _HALF)
            tie = np.float32(up) - mean == _HALF
            row[i] = np.uint8(up & ~np.int32(tie))
