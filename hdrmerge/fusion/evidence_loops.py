"""The two sides of a comparison, and how much they differ, pixel by pixel (``evidence``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled

Planes = NDArray[np.float32]
Scalars = tuple[np.float32, ...]

PLANES = 9  # what is known (3), what a frame shows (3), exposure, certainty, limit
COMPARED = 8  # those that ``compare`` takes

_ZERO, _ONE, _TWO, _HALF = (np.float32(value) for value in (0.0, 1.0, 2.0, 0.5))
_SATURATED = np.float32(0.95)  # linear values above are not compared
_NO_LIGHT, _LEAST_EXPOSED = np.float32(1e-9), np.float32(1e-3)
_CUT, _CUT_WIDTH = np.float32(5.0), np.float32(1.0 / 3.0)  # noise is gone there; from 2 on it goes
_NINTH = np.float32(1.0 / 9.0)
_LEAST_DOUBT = np.float32(1e-3)
_DARKEST = np.float32(2.0**-16)  # of the first tolerance
_ROOT_OF_TWO = 0x3504F3  # the fraction of a float at a half stop
_BLACK, _LIFTED, _ERROR = np.float32(0.4), np.float32(0.25), np.float32(0.16**2)
_OVERRULED, _OVERRULED_WIDTH = np.float32(5.0), np.float32(0.5)  # from 3 on


@compiled
def two_sides(
    linear: Planes,
    below: Planes,
    trust: Planes,
    used: NDArray[np.int64],
    k: int,
    exposures: NDArray[np.float32],
    noise: Scalars,
    faded: np.float32,
    top: int,
    planes: Planes,
) -> None:
    """Fill ``planes`` (9, h, w) with rows ``top`` and on: radiance that the frames ``used`` agree
    on and that frame k shows, both cut where either saturates; the exposure behind the first, how
    surely it lies beyond the cut, the cut. Beyond the frames the last row and column are repeated.

    ``linear`` (N, H, W, 3), ``below`` and ``trust`` (N, H, W), ``exposures`` (N,); ``noise``: read,
    gain and curve of the reference. ``faded``: how many times too bright the side of more exposure
    may be in the other channels of pixels that clip in one, on both sides.
    """
    height, width = trust.shape[1:]
    alone, t = len(used) == 1, exposures[k]
    read, gain, curve = noise
    values, ceiling, total = np.empty((3, 3, width), np.float32)
    trusted, weight, exposed, coverage, strongest = np.empty((5, width), np.float32)
    for row in range(planes.shape[1]):
        y = min(top + row, height - 1)
        light, limit = planes[6, row], planes[8, row]
        limit[:], ceiling[:] = _ZERO, _ZERO
        total[:], exposed[:], coverage[:] = _ZERO, _ZERO, _ZERO
        for j in used:
            s = exposures[j]
            _apart(linear[j, y], values)
            for x in range(width):
                trusted[x] = (_ONE if trust[j, y, x] > _HALF else _ZERO) / s
                most = trusted[x] * _SATURATED
                limit[x] = most if most > limit[x] else limit[x]
            for c in range(3):
                _raise(ceiling[c], values[c], trusted)
            if alone:
                break
            for x in range(width):
                weight[x] = trust[j, y, x] * below[j, y, x]
                exposed[x] += weight[x] * s
            for x in range(width):
                coverage[x] = weight[x] if weight[x] > coverage[x] else coverage[x]
            for c in range(3):
                _add(total[c], values[c], weight)
        _apart(linear[k, y], values)
        highest = _SATURATED / t
        for x in range(width):
            limit[x] = limit[x] if limit[x] < highest else highest
            light[x] = exposed[x] if exposed[x] > _LEAST_EXPOSED else _LEAST_EXPOSED
        if alone:
            light[:] = _ONE
        strongest[:] = _ZERO
        for c in range(3):
            known = ceiling[c]
            if not alone:
                _merge(known, total[c], exposed, coverage)
            for x in range(width):
                strongest[x] = known[x] if known[x] > strongest[x] else strongest[x]
            _cut(known, values[c], trust[k, y], limit, t, planes[c, row], planes[3 + c, row])
        if faded > _ONE:
            shorter = exposures[used[0]] > t
            _unfade(planes[:3, row], planes[3:6, row], limit, faded if shorter else _ONE / faded)
        sure = planes[7, row]
        for x in range(width):
            cut = limit[x] if limit[x] < _ONE else _ONE
            variance = (cut * (cut * curve + gain) + read) / light[x]
            noisy = (_CUT - (strongest[x] - limit[x]) / np.sqrt(variance)) * _CUT_WIDTH
            noisy = noisy if noisy > _ZERO else _ZERO
            sure[x] = _ONE - (noisy if noisy < _ONE else _ONE)
        for plane in range(PLANES):
            planes[plane, row, width:] = planes[plane, row, width - 1]


@compiled
def _apart(pixels: Planes, planes: Planes) -> None:
    """A line (w, 3) as (3, w)."""
    for x in range(len(pixels)):
        planes[0, x], planes[1, x], planes[2, x] = pixels[x, 0], pixels[x, 1], pixels[x, 2]


@compiled
def _raise(most: Planes, values: Planes, share: Planes) -> None:
    for x in range(len(values)):
        value = values[x] * share[x]
        most[x] = value if value > most[x] else most[x]


@compiled
def _add(total: Planes, values: Planes, share: Planes) -> None:
    for x in range(len(values)):
        total[x] += values[x] * share[x]


@compiled
def _merge(ceiling: Planes, total: Planes, exposed: Planes, coverage: Planes) -> None:
    """Turn ``ceiling`` to the mean where frames cover it."""
    for x in range(len(total)):
        mean = total[x] / (exposed[x] if exposed[x] > _NO_LIGHT else _NO_LIGHT)
        uncovered = _ONE - _TWO * coverage[x]
        uncovered = uncovered if uncovered > _ZERO else _ZERO
        ceiling[x] = mean + uncovered * (ceiling[x] - mean)


@compiled
def _cut(
    known: Planes,
    values: Planes,
    trust: Planes,
    limit: Planes,
    t: np.float32,
    a: Planes,
    b: Planes,
) -> None:
    """Both sides of the comparison; what a frame does not see is no difference."""
    for x in range(len(known)):
        value, shown = known[x], values[x] / t
        a[x] = value if value < limit[x] else limit[x]
        shown = shown if trust[x] > _ZERO else value
        b[x] = shown if shown < limit[x] else limit[x]


@compiled
def _unfade(known: Planes, shown: Planes, limit: Planes, share: np.float32) -> None:
    """Bring what a frame shows, where both sides clip in some channel, nearer to what is known: up
    to ``share`` times as bright, or as dark where it is below 1."""
    for x in range(len(limit)):
        a = known[0, x] if known[0, x] > known[1, x] else known[1, x]
        b = shown[0, x] if shown[0, x] > shown[1, x] else shown[1, x]
        a = a if a > known[2, x] else known[2, x]
        b = b if b > shown[2, x] else shown[2, x]
        if a < limit[x] or b < limit[x]:
            continue
        for c in range(3):
            here, there = known[c, x], shown[c, x]
            nearer = there * share
            if share > _ONE and here > there:
                shown[c, x] = nearer if nearer < here else here
            if share < _ONE and here < there:
                shown[c, x] = nearer if nearer > here else here


@compiled
def _extremes(a: Planes, b: Planes, c: Planes, low: Planes, high: Planes) -> None:
    for x in range(len(a)):
        least = a[x] if a[x] < b[x] else b[x]
        most = a[x] if a[x] > b[x] else b[x]
        low[x] = least if least < c[x] else c[x]
        high[x] = most if most > c[x] else c[x]


@compiled
def compare(
    planes: Planes,
    tolerance: Planes,
    noise: Scalars,
    other: Scalars,
    t: np.float32,
    step: np.float32,
    pooled: np.float32,
    slack: np.float32,
    found: Planes,
) -> None:
    """Refine ``found`` (2, h, w): standard deviations by which the sides of ``planes`` (8, h, w)
    differ in 3 x 3 pixels, of ``pooled`` pixels of the frames in all, and the power to see any
    difference. It comes with those of windows twice as large, or with nothing and 1.

    ``tolerance``: squares of relative errors, by half stops; ``noise`` and ``other``: read, gain
    and curve of the two frames; ``step``: linear value of a code.
    """
    height, width = planes.shape[1:]
    read, gain, curve = noise
    other_read, other_gain, other_curve = other
    share = _ONE / pooled
    part, rest = _ONE - slack, slack * _HALF
    other_share = share / (t * t)
    lift, error = _LIFTED * read, _ERROR * read
    other_lift = _LIFTED * other_read / (t * t)
    floor = (step * step + _ERROR * other_read) / (t * t)
    black, other_black = _BLACK / np.sqrt(read), _BLACK * t / np.sqrt(other_read)
    means = np.empty((7, 3, width), np.float32)  # of three rows; last the doubt
    column = np.empty(width + 2, np.float32)
    edges = np.empty((4, width + 2), np.float32)
    level, square, power, unlit, coded = np.empty((5, width), np.float32)
    bits = level.view(np.int32)
    for last in range(height + 1):
        if last < height:
            before = last - 1 if last else min(1, height - 1)
            after = last + 1 if last + 1 < height else max(0, height - 2)
            for plane in range(7):
                source = plane + (plane == 6)
                for x in range(width):
                    column[x + 1] = (
                        planes[source, before, x]
                        + planes[source, last, x]
                        + planes[source, after, x]
                    )
                column[0] = column[2 if width > 1 else 1]
                column[width + 1] = column[width - 1 if width > 1 else 1]
                for x in range(width):
                    means[plane, last % 3, x] = _NINTH * (column[x] + column[x + 1] + column[x + 2])
        if last == 0:
            continue
        y = last - 1
        row, upper, lower = y % 3, max(y - 1, 0) % 3, min(last, height - 1) % 3
        for x in range(width):
            doubt = _ONE - means[6, row, x]
            means[6, row, x] = doubt if doubt > _LEAST_DOUBT else _LEAST_DOUBT
            highest = means[0, row, x]
            for plane in range(1, 6):
                value = means[plane, row, x]
                highest = value if value > highest else highest
            power[x] = highest
            level[x] = highest if highest > _DARKEST else _DARKEST
        for x in range(width):
            exponent = bits[x] >> 23
            half = 2 * (exponent - 111) + ((bits[x] & 0x7FFFFF) >= _ROOT_OF_TWO)
            half = half if half < len(tolerance) else len(tolerance) - 1
            square[x] = tolerance[half]
        for x in range(width):
            level[x] = square[x] * power[x] * power[x]
            light = planes[6, y, x]
            unlit[x] = share / light
            code = step / (light if light > _ONE else _ONE)
            coded[x] = code * code + error
        square[:], power[:] = _ZERO, _ZERO
        for c in range(3):
            for side in range(2):
                around = means[3 * side + c]
                low, high = edges[2 * side], edges[2 * side + 1]
                _extremes(around[upper], around[row], around[lower], low[1:], high[1:])
            for edge in range(4):
                edges[edge, 0], edges[edge, width + 1] = edges[edge, 1], edges[edge, width]
            for x in range(width):
                a, b = means[c, row, x], means[3 + c, row, x]
                low = edges[0, x] if edges[0, x] < edges[0, x + 1] else edges[0, x + 1]
                low = low if low < edges[0, x + 2] else edges[0, x + 2]
                high = edges[1, x] if edges[1, x] > edges[1, x + 1] else edges[1, x + 1]
                high = high if high > edges[1, x + 2] else edges[1, x + 2]
                extent = high - low
                over = b - (high * slack + a * part)
                under = (low * slack + a * part) - b
                outside = over if over > under else under
                low = edges[2, x] if edges[2, x] < edges[2, x + 1] else edges[2, x + 1]
                low = low if low < edges[2, x + 2] else edges[2, x + 2]
                high = edges[3, x] if edges[3, x] > edges[3, x + 1] else edges[3, x + 1]
                high = high if high > edges[3, x + 2] else edges[3, x + 2]
                extent = extent if extent > high - low else high - low
                over = a - (high * slack + b * part)
                under = (low * slack + b * part) - a
                over = over if over > under else under
                outside = outside if outside < over else over
                outside = outside if outside > _ZERO else _ZERO

                value = a if a > _ZERO else _ZERO
                value = value if value < _ONE else _ONE
                own = (value * (value * curve + gain) + read) * unlit[x] + coded[x]
                shadow = b * black
                shadow *= shadow
                own += lift / (_ONE + shadow * shadow)
                value = b * t
                value = value if value > _ZERO else _ZERO
                value = value if value < _ONE else _ONE
                its = (value * (value * other_curve + other_gain) + other_read) * other_share
                shadow = a * other_black
                shadow *= shadow
                its += floor + other_lift / (_ONE + shadow * shadow)
                variance = own * means[6, row, x] + its + level[x]
                extent *= rest
                loose = variance + extent * extent
                both = _ONE / (variance * loose)
                square[x] += outside * outside * loose * both
                power[x] += variance * both
        for x in range(width):
            evidence, larger = np.sqrt(square[x]), found[0, y, x]
            # Large windows reach beyond a thing's outline; small ones overrule them wherever they
            # would have seen such a difference.
            expected = larger * np.sqrt(power[x] / found[1, y, x])
            unseen = (_OVERRULED - expected) * _OVERRULED_WIDTH
            unseen = unseen if unseen > _ZERO else _ZERO
            larger *= unseen if unseen < _ONE else _ONE
            found[0, y, x] = larger if larger > evidence else evidence
            found[1, y, x] = power[x]
