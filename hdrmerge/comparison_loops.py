"""The loops of ``comparison``: which samples are compared, and medians of many groups."""

from __future__ import annotations

from math import floor, log

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray
from hdrmerge.median_loops import median

Array = NDArray[np.float64]

_SLACK = 4.0  # of noise's variance: flat enough


@compiled
def _look_up(table: Array, code: float) -> float:
    """``table`` at a code fraction, linearly."""
    last = table.size - 1
    at = code * last
    at = at if at > 0.0 else 0.0
    low = int(at)
    low = low if low < last else last - 1
    part = at - low
    part = part if part < 1.0 else 1.0
    return float(table[low] + part * (table[low + 1] - table[low]))


@compiled
def choose(
    darker: FloatArray,
    brighter: FloatArray,
    variance: FloatArray,
    highest: FloatArray,
    tile: NDArray[np.int64],
    curve: Array,
    noise: Array,
    least: tuple[float, float],
    clipped: float,
    step: float,
    width: float,
    tiles: int,
    most: int,
) -> NDArray[np.int64]:
    """Indices of the samples (S,) of a pair of frames that are compared, in the order of their
    brightness, tile and rank.

    ``darker`` and ``brighter``: code fractions, of at least ``least`` each; ``variance`` and
    ``highest`` code of the brighter one, which must be under ``clipped``; ``tile`` (S / 3,),
    less than ``tiles``.
    ``curve`` and ``noise``: the inverse response, and the variance that noise alone makes, at
    equidistant code fractions; ``step`` between the frames, a ratio. Of each tile and brightness
    (natural log, ``width`` of a bin) at ``most`` so many are taken: those that are flat enough
    first, in an order that follows nothing; the flattest of all would be those whose noise JPEG
    has removed.
    """
    count = darker.size
    cell, rank = np.empty(count, np.int32), np.empty(count, np.int32)
    index = np.empty(count, np.int32)
    number, lowest, topmost = 0, 2**30, -(2**30)
    for k in range(count):
        if not (highest[k] < clipped and darker[k] > least[0] and brighter[k] > least[1]):
            continue
        x = _look_up(curve, brighter[k]) + _look_up(curve, darker[k]) * step
        level = floor(log(x if x > 1e-6 else 1e-6) / width)
        lowest = level if level < lowest else lowest
        topmost = level if level > topmost else topmost
        excess = float(variance[k]) / _look_up(noise, brighter[k]) - _SLACK
        excess = min(max(excess, 0.0), 1000.0)
        index[number] = k
        cell[number] = level
        rank[number] = int(excess * 65536.0) + (k * 40503) % 65536
        number += 1
    if number == 0:
        return np.empty(0, np.int64)
    cells = (topmost - lowest + 1) * tiles
    filled = np.zeros(cells, np.int32)
    found = np.empty((cells, most), np.int32)
    total = 0
    for n in range(number):
        c = (cell[n] - lowest) * tiles + tile[index[n] // 3]
        k = filled[c]
        if k == most:
            if rank[n] >= rank[found[c, most - 1]]:
                continue
            k -= 1
        else:
            filled[c] += 1
            total += 1
        while k > 0 and rank[found[c, k - 1]] > rank[n]:
            found[c, k] = found[c, k - 1]
            k -= 1
        found[c, k] = n
    kept = np.empty(total, np.int64)
    at = 0
    for c in range(cells):
        for k in range(filled[c]):
            kept[at] = index[found[c, k]]
            at += 1
    return kept


@compiled
def medians(values: Array, counts: NDArray[np.int64], out: Array) -> None:
    """Medians ``out`` (G,) of groups of ``counts`` (G,) neighbours among ``values``."""
    start = 0
    for g in range(counts.size):
        out[g] = median(values[start : start + counts[g]])
        start += counts[g]
