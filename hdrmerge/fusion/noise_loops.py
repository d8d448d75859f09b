"""The loop of ``noise``: blocks in which two frames differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray

BLOCK = 8  # pixels a side
_PIXELS = np.float32(BLOCK * BLOCK)
_ZERO = np.float32(0.0)


@compiled
def _exposed(tile: FloatArray, dark: np.float32, bright: np.float32) -> bool:
    """Whether a block's mean is above ``dark`` and its maximum below ``bright``."""
    total, highest = _ZERO, tile[0, 0]
    for y in range(BLOCK):
        line = tile[y]
        for x in range(BLOCK):
            value = line[x]
            total += value
            highest = value if value > highest else highest
    return bool(highest < bright and total > dark * _PIXELS)


@compiled
def compare(
    darker: FloatArray,
    brighter: FloatArray,
    inside: NDArray[np.int64],
    exposures: tuple[np.float32, np.float32],
    limits: tuple[np.float32, np.float32],
    found: FloatArray,
) -> int:
    """Radiance ``found[0]`` and the variance of two frames' difference ``found[1]``, a block and
    channel that both expose well; how many they are.

    ``darker`` and ``brighter`` (3, h, w) linear, ``inside`` (2, h, 2) the columns of each row that
    lie inside them, ``limits`` the least mean and the end of values that a block may have.
    """
    _, height, width = darker.shape
    one, other = np.float32(1.0) / exposures[0], np.float32(1.0) / exposures[1]
    number = 0
    for top in range(0, height - BLOCK + 1, BLOCK):
        for left in range(0, width - BLOCK + 1, BLOCK):
            within = True
            for y in range(top, top + BLOCK):
                for k in range(2):
                    within &= inside[k, y, 0] <= left and left + BLOCK <= inside[k, y, 1]
            if not within:
                continue
            for c in range(3):
                a = darker[c, top : top + BLOCK, left : left + BLOCK]
                b = brighter[c, top : top + BLOCK, left : left + BLOCK]
                if not (_exposed(a, limits[0], limits[1]) and _exposed(b, limits[0], limits[1])):
                    continue
                radiance = differences = squares = _ZERO
                for y in range(BLOCK):
                    p, q = a[y], b[y]
                    for x in range(BLOCK):
                        radiance += q[x]
                        differences += q[x] * other - p[x] * one
                mean = differences / _PIXELS
                for y in range(BLOCK):
                    p, q = a[y], b[y]
                    for x in range(BLOCK):
                        off = q[x] * other - p[x] * one - mean
                        squares += off * off
                found[0, number] = radiance * other / _PIXELS
                found[1, number] = squares / _PIXELS
                number += 1
    return number
