"""The loop of ``frames``: a picture reduced by a whole factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled

_HALF = np.float32(0.5)


@compiled
def reduce(codes: NDArray[np.uint8], factor: int, out: NDArray[np.uint8]) -> None:
    """``out`` (h, w, 3): means of squares of ``factor`` (at most 16) x ``factor`` pixels of
    ``codes``, rounded to the nearest, halves to even."""
    height, width = out.shape[0], out.shape[1]
    line = np.empty(width * factor * 3, np.uint16)  # sums of columns
    area = np.int32(factor * factor)
    share = np.float32(1.0) / np.float32(area)
    for y in range(height):
        first = codes[y * factor].ravel()
        for i in range(line.size):
            line[i] = first[i]
        for k in range(1, factor):
            more = codes[y * factor + k].ravel()
            for i in range(line.size):
                line[i] += more[i]
        row = out[y].ravel()
        for x in range(width):
            for c in range(3):
                total = np.int32(0)
                for i in range(3 * x * factor + c, 3 * (x + 1) * factor + c, 3):
                    total += line[i]
                mean = np.int32(np.float32(total) * share + _HALF)
                if (2 * mean - 1) * area == 2 * total:
                    mean -= mean & 1
                row[3 * x + c] = mean
