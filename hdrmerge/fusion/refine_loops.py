"""The inner loops of refining: what the network is shown, and taking out the noise it finds.

Pictures are planes, float32; folded planes hold the pixels (even or odd row, even or odd column) of
a plane side by side, four for each, as torch's pixel_unshuffle does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_LN2 = np.float32(np.log(2))
_LOG2_E = np.float32(1 / np.log(2))
_GAMMA = np.float32(1 / np.log(2) / 2.2)  # of a logarithm, to the power of two
_STEEP = np.float32(60)  # powers of two beside which one is nothing
_FRESH = 16  # rows after which a running sum begins anew
_LIMIT = np.float32(4)  # of the network's free part, as in models.refiner
_TINY = np.float32(1e-30)
_SQRT_HALF = np.float32(0.5**0.5).view(np.int32)  # bits: where mantissas are cut in two
_FULL, _RANGE, _LEAST = np.float32(0.97), np.float32(1 / 0.07), np.float32(1e-4)  # clipping frames
_NO_TRUST = np.float32(0.05)  # as in fusion.radiometric
_NONE = np.float32(1e-9)  # a certainty of nothing
FURTHEST = 4.0  # standard deviations by which a value may change
_FURTHEST = np.float32(FURTHEST)

# Polynomials fitted at Chebyshev's nodes, highest power first: log(1 + f) / f for 1 + f between
# sqrt(1/2) and sqrt(2), to 5e-8; 2^r for r in [0, 1], to 1e-7 of it.
_LOG = tuple(
    np.float32(c)
    for c in (
        *(0.0874394535, -0.1437733057, 0.1494909548, -0.1656069599, 0.1995697748),
        *(-0.2500215346, 0.3333418334, -0.4999998703, 0.9999999743),
    )
)
_EXP2 = tuple(
    np.float32(c)
    for c in (0.0018951073, 0.0089462147, 0.0558632827, 0.2401407701, 0.69315462, 0.9999998958)
)
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8 = _LOG
_E0, _E1, _E2, _E3, _E4, _E5 = _EXP2


@compiled
def log(x: np.float32) -> np.float32:
    """The natural logarithm of a positive number, to 1e-7 of the larger of it and 1."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32((bits - _SQRT_HALF) >> 23)
    f = np.int32(bits - (exponent << 23)).view(np.float32) - _ONE
    p = ((_C0 * f + _C1) * f + _C2) * f + _C3
    p = ((((p * f + _C4) * f + _C5) * f + _C6) * f + _C7) * f + _C8
    return p * f + np.float32(exponent) * _LN2


@compiled
def power_of_two(x: np.float32) -> np.float32:
    """2^x to 2e-7 of it, x between -126 and 126."""
    whole = np.int32(x + np.float32(127)) - 127
    r = x - np.float32(whole)
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    return p * np.int32((whole + 127) << 23).view(np.float32)


@compiled
def encoded(x: np.float32) -> np.float32:
    """``x`` in [0, 1] by a display's gamma, x^(1/2.2), to 1e-6."""
    return power_of_two(log(x if x > _TINY else _TINY) * _GAMMA)


@compiled
def sigmoid(x: np.float32) -> np.float32:
    """1 / (1 + exp(-x)), to 1e-6."""
    power = x * -_LOG2_E
    power = power if power > -_STEEP else -_STEEP
    return _ONE / (_ONE + power_of_two(power if power < _STEEP else _STEEP))


@compiled
def average(plane: FloatArray, size: int, out: FloatArray) -> None:
    """``out`` (h, w): averages of ``plane`` (h + size - 1, w + size - 1) over ``size`` x ``size``
    pixels."""
    high, width = out.shape
    wide = width + size - 1
    share = _ONE / np.float32(size * size)
    down = np.empty(wide, np.float32)
    work, twice = np.zeros(wide + size, np.float32), np.zeros(wide + size, np.float32)
    for y in range(high):
        row, last = out[y], plane[y + size - 1]
        if y % _FRESH == 0:  # now and then, since errors of rounding add up
            down[:] = _ZERO
            for k in range(size - 1):
                more = plane[y + k]
                for x in range(wide):
                    down[x] += more[x]
        else:
            before = plane[y - 1]
            for x in range(wide):
                down[x] -= before[x]
        for x in range(wide):
            down[x] += last[x]
            work[x] = down[x]
        row[:] = _ZERO
        at, span = 0, 1
        while True:  # sums of 1, 2, 4, ... neighbours, of those that make up the size
            if size & span:
                part = work[at:]
                for x in range(width):
                    row[x] += part[x] * share
                at += span
            if at == size:
                break
            other = work[span:]
            for x in range(wide):
                twice[x] = work[x] + other[x]
            work, twice = twice, work
            span *= 2


@compiled
def stabilise(
    plane: FloatArray,
    read: np.float32,
    gain: np.float32,
    curve: np.float32,
    clipped: FloatArray,
    out: FloatArray,
) -> None:
    """``plane`` (h, w) clipped to [0, 1], and that on the scale on which the reference's noise,
    sigma^2 = read + gain x + curve x^2, is 1."""
    high, wide = plane.shape
    root = np.sqrt(curve)
    floor = np.sqrt(read)
    share = _ONE / (np.float32(2) * root * floor + gain)
    a, b = np.float32(2) * root * share, np.float32(2) * curve * share
    scale = _ONE / root
    for y in range(high):
        source, low, high_row = plane[y], clipped[y], out[y]
        for i in range(wide):
            x = source[i]
            x = x if x > _ZERO else _ZERO
            x = x if x < _ONE else _ONE
            sigma = np.sqrt((x * curve + gain) * x + read)
            low[i] = x
            high_row[i] = scale * log(_ONE + (a * (sigma - floor) + b * x))


@compiled
def fold(plane: FloatArray, at: int, first: int, kind: int, folded: FloatArray) -> None:
    """Put ``plane`` from the pixel (at, at) on into four planes of ``folded`` from ``first`` on.

    ``kind`` 1: with a display's gamma.
    """
    height, width = folded.shape[1], folded.shape[2]
    line = np.empty(2 * width, np.float32)
    for y in range(2 * height):
        row = plane[y + at, at:]
        i = first + 2 * (y & 1)
        even, odd = folded[i, y >> 1], folded[i + 1, y >> 1]
        if kind == 1:
            for x in range(2 * width):
                line[x] = encoded(row[x])
            row = line
        for x in range(width):
            even[x] = row[2 * x]
            odd[x] = row[2 * x + 1]


@compiled
def detail(
    larger: FloatArray,
    smaller: FloatArray,
    at: int,
    first: int,
    inside: NDArray[np.intp],
    shown: FloatArray,
    bands: FloatArray,
) -> None:
    """What ``larger`` has from the pixel (at, at) on and ``smaller``, its average, has not.

    Into the four planes of ``shown`` from ``first`` on goes the inverse hyperbolic sine of its
    half; into those of ``bands`` itself, from the pixel ``inside`` (2,) on, even.
    """
    width = shown.shape[2]
    high, wide = bands.shape[1], bands.shape[2]
    top, left = inside[0] // 2, inside[1] // 2
    reach = (len(larger) - len(smaller)) // 2
    line = np.empty(2 * width, np.float32)
    for y in range(2 * shown.shape[1]):
        a, b = larger[y + at, at:], smaller[y + at - reach, at - reach :]
        i = first + 2 * (y & 1)
        row = y // 2 - top
        for x in range(2 * width):
            line[x] = a[x] - b[x]
        if 0 <= row < high:
            part = line[2 * left :]
            even, odd = bands[i, row], bands[i + 1, row]
            for x in range(wide):
                even[x] = part[2 * x]
                odd[x] = part[2 * x + 1]
        for x in range(2 * width):
            value = line[x] * _HALF
            size = value if value > _ZERO else -value
            size = log(size + np.sqrt(size * size + _ONE))
            line[x] = size if value > _ZERO else -size
        even, odd = shown[i, y >> 1], shown[i + 1, y >> 1]
        for x in range(width):
            even[x] = line[2 * x]
            odd[x] = line[2 * x + 1]


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
