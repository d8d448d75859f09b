"""The loops of ``refine``: how noisy a merge is, and taking out the noise that a network finds.

Pictures and folded planes are as in ``refine_inputs_loops``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray
from hdrmerge.powers_loops import exp2

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_LOG2_E = np.float32(1 / np.log(2))
_STEEP = np.float32(60)  # powers of two beside which one is nothing
_LIMIT = np.float32(4)  # of the network's free part, as in models.refiner
_FULL, _RANGE, _LEAST = np.float32(0.97), np.float32(1 / 0.07), np.float32(1e-4)  # clipping frames
_NO_TRUST = np.float32(0.05)  # as in fusion.radiometric
_NONE = np.float32(1e-9)  # a certainty of nothing
_FURTHEST = np.float32(4)  # standard deviations by which a value may change


@compiled
def sigmoid(x: np.float32) -> np.float32:
    """1 / (1 + exp(-x)), to 1e-6."""
    power = x * -_LOG2_E
    power = power if power > -_STEEP else -_STEEP
    return _ONE / (_ONE + exp2(power if power < _STEEP else _STEEP))


@compiled
def weigh(
    planes: FloatArray,
    trust: FloatArray,
    rows: NDArray[np.int32],
    down: FloatArray,
    columns: NDArray[np.int32],
    across: FloatArray,
    frames: FloatArray,
    curve: np.float32,
    reference: int,
    limits: FloatArray,
    left: FloatArray,
    share: FloatArray,
) -> None:
    """How noisy a merge is where ``planes`` (3, h, w) lie, and how far it is to be refined.

    ``trust`` (N, h', w'), looked up bilinearly: ``rows`` (h,) before each pixel's row and ``down``
    (h,) how far from there to the next, likewise ``columns`` and ``across`` (w,). ``frames`` (N, 3)
    exposure, read and gain of each; ``limits`` (4,): factors of the reference's clipping and of how
    much noisier it is, as ``refine_inputs.amount`` has them. ``left`` (h, w) is filled with the
    merge's standard deviation in units of the reference's, at most 1; ``share`` (h, w) with
    ``amount``.
    """
    height, width = left.shape
    last = trust.shape[1] - 1
    begin, stop = columns.min(), columns.max() + 1
    stop = min(stop, trust.shape[2] - 1)
    line = np.zeros(stop - begin + 2, np.float32)
    peak, mean = np.empty(width, np.float32), np.empty(width, np.float32)
    trusted, every = np.empty(width, np.float32), np.empty(width, np.float32)
    own, believed = np.empty(width, np.float32), np.empty(width, np.float32)
    third = np.float32(1 / 3)
    for y in range(height):
        red, green, blue = planes[0, y], planes[1, y], planes[2, y]
        for x in range(width):
            r, g, b = red[x], green[x], blue[x]
            most = r if r > g else g
            peak[x] = most if most > b else b
            value = (r + g + b) * third
            value = value if value > _ZERO else _ZERO
            mean[x] = value if value < _ONE else _ONE
            trusted[x] = every[x] = _NONE
        for k in range(len(frames)):
            t, read, gain = frames[k, 0], frames[k, 1], frames[k, 2]
            if k == reference:
                for x in range(width):
                    believed[x] = _ONE
            else:
                upper = trust[k, rows[y], begin : stop + 1]
                lower = trust[k, min(rows[y] + 1, last), begin : stop + 1]
                part = down[y]
                for x in range(stop + 1 - begin):
                    line[x] = upper[x] + (lower[x] - upper[x]) * part
                line[stop + 1 - begin] = line[stop - begin]
                for x in range(width):
                    at = columns[x] - begin
                    value = line[at] + (line[at + 1] - line[at]) * across[x]
                    believed[x] = value if value >= _NO_TRUST else _ZERO
            square = t * t
            for x in range(width):
                certainty = (_FULL - peak[x] * t) * _RANGE
                certainty = certainty if certainty > _LEAST else _LEAST
                certainty = certainty if certainty < _ONE else _ONE
                value = mean[x] * t
                value = value if value < _ONE else _ONE
                certainty *= square / ((value * curve + gain) * value + read)
                every[x] += certainty
                trusted[x] += believed[x] * certainty
                if k == reference:
                    own[x] = certainty
        for x in range(width):
            value = np.sqrt(own[x] / trusted[x])
            left[y, x] = value if value < _ONE else _ONE
            below = (limits[0] - peak[x]) * limits[1]
            below = below if below > _ZERO else _ZERO
            below = below if below < _ONE else _ONE
            missed = (np.sqrt(every[x] / trusted[x]) - limits[2]) * limits[3]
            missed = missed if missed > _ZERO else _ZERO
            missed = missed if missed < _ONE else _ONE
            share[y, x] = below * missed


@compiled
def take_out(
    found: FloatArray,
    bands: FloatArray,
    planes: FloatArray,
    share: FloatArray,
    first: NDArray[np.intp],
    cells: NDArray[np.uint8],
    cell: int,
    read: np.float32,
    gain: np.float32,
    curve: np.float32,
    clean: FloatArray,
    used: NDArray[np.uint8],
) -> int:
    """Take the noise out that the network has ``found`` (48, h/2, w/2) in ``bands`` (36, h/2, w/2).

    ``found`` is what ``models.refiner.limited`` makes shares and noise of. Of ``planes`` (3, H, W)
    and ``share`` (H, W), how far to refine, the part that begins at the pixel ``first`` (2,).
    ``cells``: which squares of ``cell`` pixels are refined. ``clean`` (h', w', 3), h' <= h and
    w' <= w, is filled, and ``used`` (h', w') with where it is to be used.
    Returns the number of those pixels.
    """
    height, width = used.shape
    half = found.shape[2]
    even, odd = np.empty(half, np.float32), np.empty(half, np.float32)
    noise = np.empty(2 * half, np.float32)
    chosen, part = np.zeros(2 * half, np.float32), np.empty(width, np.float32)
    results = np.empty((3, width), np.float32)
    red, green, blue = results[0], results[1], results[2]
    changed = 0
    for y in range(height):
        if y % cell == 0:
            for i in range(cells.shape[1]):
                chosen[i * cell : (i + 1) * cell] = _ONE if cells[y // cell, i] else _ZERO
        there, mark = share[first[0] + y, first[1] : first[1] + width], used[y]
        count = 0
        for x in range(width):
            part[x] = there[x] * chosen[x]
            mark[x] = 1 if part[x] > _ZERO else 0
            count += 1 if part[x] > _ZERO else 0
        changed += count
        for c in range(3):
            for side in range(2):
                i = 4 * c + 2 * (y & 1) + side
                a, b, d = found[i, y >> 1], found[i + 12, y >> 1], found[i + 24, y >> 1]
                p, q, r = bands[i, y >> 1], bands[i + 12, y >> 1], bands[i + 24, y >> 1]
                free, sums = found[i + 36, y >> 1], odd if side else even
                for x in range(half):
                    value = sigmoid(a[x]) * p[x] + sigmoid(b[x]) * q[x] + sigmoid(d[x]) * r[x]
                    value += _TWO * _LIMIT * sigmoid(free[x] * (_TWO / _LIMIT)) - _LIMIT  # tanh
                    value = value if value > -_FURTHEST else -_FURTHEST
                    sums[x] = value if value < _FURTHEST else _FURTHEST
            for x in range(half):
                noise[2 * x] = even[x]
                noise[2 * x + 1] = odd[x]
            plane, result = planes[c, first[0] + y, first[1] : first[1] + width], results[c]
            for x in range(width):
                own = plane[x]
                value = own if own > _ZERO else _ZERO
                value = value if value < _ONE else _ONE
                sigma = np.sqrt((value * curve + gain) * value + read)
                result[x] = own - noise[x] * sigma * part[x]
        row = clean[y]
        for x in range(width):
            row[x, 0] = red[x]
            row[x, 1] = green[x]
            row[x, 2] = blue[x]
    return changed
