"""The loop of ``samples``: blocks of a frame looked at through a homography."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import Codes, FloatArray


@compiled
def _sample(codes: Codes, u: float, v: float, c: int) -> float:
    """Channel ``c`` at column ``u`` and row ``v``, both inside, bilinearly."""
    i, j = int(u), int(v)
    right = i + 1 if i + 1 < codes.shape[1] else i
    below = j + 1 if j + 1 < codes.shape[0] else j
    s, t = u - i, v - j
    upper = float(codes[j, i, c]) * (1.0 - s) + float(codes[j, right, c]) * s
    lower = float(codes[below, i, c]) * (1.0 - s) + float(codes[below, right, c]) * s
    return upper * (1.0 - t) + lower * t


@compiled
def look(
    codes: Codes,
    matrix: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    side: int,
    whole_codes: bool,
    statistics: FloatArray,
    inside: NDArray[Any],
) -> None:
    """Blocks of ``side`` x ``side`` pixels that start at ``rows`` (R,) and ``columns`` (C,).

    ``matrix`` (3, 3) maps their pixels to those of ``codes`` (H, W, 3). ``statistics``
    (3, R, C, 3): means, unbiased variances and maxima of the codes, rounded where
    ``whole_codes``, 0 outside; ``inside`` (R, C): whether the block lies inside the frame.
    """
    right, bottom = codes.shape[1] - 1, codes.shape[0] - 1
    number = float(side * side)
    h = matrix
    place = np.empty((side * side, 2))
    for row in range(rows.size):
        for column in range(columns.size):
            within = True
            k = 0
            for down in range(side):
                y = float(min(rows[row] + down, bottom))
                p = h[0, 1] * y + h[0, 2]
                q = h[1, 1] * y + h[1, 2]
                r = h[2, 1] * y + h[2, 2]
                for across in range(side):
                    x = float(min(columns[column] + across, right))
                    scale = 1.0 / (h[2, 0] * x + r)
                    u, v = (h[0, 0] * x + p) * scale, (h[1, 0] * x + q) * scale
                    place[k, 0], place[k, 1] = u, v
                    within &= (u >= 0.0) & (u <= right) & (v >= 0.0) & (v <= bottom)
                    k += 1
            inside[row, column] = within
            for c in range(3):
                total, squares, highest = 0.0, 0.0, -np.inf
                for k in range(place.shape[0] if within else 0):
                    value = _sample(codes, place[k, 0], place[k, 1], c)
                    value = np.floor(value + 0.5) if whole_codes else value
                    total += value
                    squares += value * value
                    highest = value if value > highest else highest
                variance = (squares - total * total / number) / (number - 1.0)
                statistics[0, row, column, c] = total / number
                statistics[1, row, column, c] = variance if variance > 0.0 else 0.0
                statistics[2, row, column, c] = highest if within else 0.0
