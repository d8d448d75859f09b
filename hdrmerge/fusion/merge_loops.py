"""The loops of ``radiometric``: how surely pixels do not clip, their mean, and its packing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray

_ZERO, _HALF, _ONE, _TINY = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1e-20)
_GAUSS = np.exp(-0.5 * np.arange(3) ** 2)  # of a standard deviation of one pixel, over five
_CENTRE, _NEXT, _LAST = (_GAUSS / (2 * _GAUSS.sum() - 1)).astype(np.float32)

# Bits of floats on their way to half floats: 13 fewer of the fraction, 112 less in the exponent;
# below 2^-14 a half's steps are those of a float between 1/2 and 1.
_HALF_MAX = np.float32(65504)
_SHIFT, _LAST_BIT, _ROUND = np.uint32(13), np.uint32(1), np.uint32(0xFFF)
_BIAS, _LEAST_NORMAL, _HALF_BITS = (
    np.uint32(0x38000000),
    np.uint32(0x38800000),
    np.uint32(0x3F000000),
)


@compiled
def brightest_of(red: FloatArray, green: FloatArray, blue: FloatArray, out: FloatArray) -> float:
    """The largest channel of every pixel, at most 1, into ``out`` (h, w); returns the largest."""
    peak = _ZERO
    for y in range(out.shape[0]):
        r, g, b, line = red[y], green[y], blue[y], out[y]
        for x in range(line.size):
            value = r[x] if r[x] > g[x] else g[x]
            value = value if value > b[x] else b[x]
            value = value if value < _ONE else _ONE
            line[x] = value
            peak = peak if peak > value else value
    return float(peak)


@compiled
def _mirrored(i: int, length: int) -> int:
    """Where a place beyond the border is, mirrored at the outermost pixel."""
    there = abs(i) % max(2 * length - 2, 1)
    return there if there < length else 2 * length - 2 - there


@compiled
def _rows(
    a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray, e: FloatArray, out: FloatArray
) -> None:
    for x in range(out.size):
        out[x] = c[x] * _CENTRE + (b[x] + d[x]) * _NEXT + (a[x] + e[x]) * _LAST


@compiled
def _faded(smooth: FloatArray, own: FloatArray, limits: FloatArray, out: FloatArray) -> None:
    high, scale, around_high, around_scale = limits[0], limits[1], limits[2], limits[3]
    for x in range(out.size):
        around = (
            smooth[x + 2] * _CENTRE
            + (smooth[x + 1] + smooth[x + 3]) * _NEXT
            + (smooth[x] + smooth[x + 4]) * _LAST
        )
        here = (high - own[x]) * scale
        around = (around_high - around) * around_scale
        here = here if here < around else around
        here = here if here < _ONE else _ONE
        out[x] = here if here > _ZERO else _ZERO


@compiled
def fade_clipped(brightest: FloatArray, limits: FloatArray, out: FloatArray) -> None:
    """How surely pixels are below saturation, (h, w): 1 to 0 between two values of ``brightest``
    itself and, if less, of its mean around (Gaussian of one pixel, mirrored at the border).

    ``limits`` (4,): where it reaches 0 and how steeply, for the one and for the other.
    """
    height, width = out.shape
    smooth = np.empty(width + 4, np.float32)
    inner = smooth[2 : width + 2]
    for y in range(height):
        _rows(
            brightest[_mirrored(y - 2, height)],
            brightest[_mirrored(y - 1, height)],
            brightest[y],
            brightest[_mirrored(y + 1, height)],
            brightest[_mirrored(y + 2, height)],
            inner,
        )
        for beyond in (1, 2):
            smooth[2 - beyond] = inner[_mirrored(-beyond, width)]
            smooth[width + 1 + beyond] = inner[_mirrored(width - 1 + beyond, width)]
        _faded(smooth, brightest[y], limits, out[y])


@compiled
def _weigh(
    usable: FloatArray,
    trust: FloatArray,
    no_trust: np.float32,
    least: np.float32,
    weight: FloatArray,
    cover: FloatArray,
    clipped: FloatArray,
) -> None:
    for x in range(weight.size):
        trusted = trust[x] if trust[x] > no_trust else _ZERO
        value = usable[x] if usable[x] > least else least
        value *= trusted
        weight[x] = value
        covered = trusted if least > _ZERO else value
        cover[x] = cover[x] if cover[x] > covered else covered
        clipped[x] = clipped[x] if clipped[x] > usable[x] else usable[x]


@compiled
def _expose(weight: FloatArray, t: np.float32, exposed: FloatArray) -> None:
    for x in range(exposed.size):
        exposed[x] += weight[x] * t


@compiled
def _add(sample: FloatArray, weight: FloatArray, total: FloatArray) -> None:
    for x in range(total.size):
        total[x] += sample[x] * weight[x]


@compiled
def _add_certain(
    sample: FloatArray,
    weight: FloatArray,
    first: FloatArray,
    t: np.float32,
    noise: FloatArray,
    total: FloatArray,
    certainty: FloatArray,
) -> None:
    read, gain, curve = noise[0], noise[1] * t, noise[2] * t * t
    for x in range(total.size):
        share = weight[x] * t / ((first[x] * curve + gain) * first[x] + read)
        total[x] += sample[x] * share
        certainty[x] += share * t


@compiled
def _divide(total: FloatArray, by: FloatArray, out: FloatArray) -> None:
    for x in range(out.size):
        value = total[x] / by[x]
        out[x] = value if value > _ZERO else _ZERO


@compiled
def _ratio(total: FloatArray, by: FloatArray, out: FloatArray) -> None:
    for x in range(out.size):
        out[x] = total[x] / by[x]


@compiled
def merge_planes(
    samples: FloatArray,
    usable: FloatArray,
    trust: FloatArray,
    inside: NDArray[np.int64],
    start: tuple[int, int],
    exposures: FloatArray,
    noise: FloatArray,
    no_trust: np.float32,
    shortest: np.float32,
    out: FloatArray,
    coverage: FloatArray,
) -> int:
    """Inverse-variance mean ``out`` (3, h, w) of ``samples`` (N, 3, H, W) over ``exposures`` (N,),
    their variances taken at a first mean by exposure.

    Weights: ``usable`` (N, H, W) times ``trust`` (N, h, w), of which up to ``no_trust`` is none;
    the shortest frame keeps ``shortest`` where it clips. ``inside`` (N, H, 2): columns of each row
    that a frame shows, first and end. ``start``: where in (H, W) the result begins. ``noise``
    (N, 3): terms of the variance at x: [0] + [1] x + [2] x^2. ``coverage`` (h, w): the most that
    any frame weighs, clipping of the shortest aside. Returns how many pixels clip in every frame.
    """
    frames = samples.shape[0]
    _, height, width = out.shape
    weights = np.empty((frames, width), np.float32)
    exposed, first = np.empty(width, np.float32), np.empty(width, np.float32)
    total, certainty = np.empty(width, np.float32), np.empty(width, np.float32)
    clipped = np.empty(width, np.float32)
    down, right = start
    count = 0
    for y in range(height):
        exposed[:] = _TINY
        clipped[:] = _ZERO
        coverage[y, :] = _ZERO
        for k in range(frames):
            a = min(max(inside[k, y + down, 0] - right, 0), width)
            b = min(max(inside[k, y + down, 1] - right, a), width)
            weights[k, :a] = _ZERO
            weights[k, b:] = _ZERO
            _weigh(
                usable[k, y + down, right + a : right + b],
                trust[k, y, a:b],
                no_trust,
                shortest if k == 0 else _ZERO,
                weights[k, a:b],
                coverage[y, a:b],
                clipped[a:b],
            )
            _expose(weights[k], exposures[k], exposed)
        for x in range(width):
            count += 1 if clipped[x] < _HALF else 0
        for c in range(3):
            total[:] = _ZERO
            for k in range(frames):
                _add(samples[k, c, y + down, right : right + width], weights[k], total)
            _divide(total, exposed, first)
            total[:] = _ZERO
            certainty[:] = _TINY
            for k in range(frames):
                _add_certain(
                    samples[k, c, y + down, right : right + width],
                    weights[k],
                    first,
                    exposures[k],
                    noise[k],
                    total,
                    certainty,
                )
            _ratio(total, certainty, out[c, y])
    return count


@compiled
def _halves(
    values: FloatArray, scaled: FloatArray, lifted: FloatArray, out: NDArray[np.uint16]
) -> None:
    for x in range(out.size):
        value = values[x] if values[x] > _ZERO else _ZERO
        value = value if value < _HALF_MAX else _HALF_MAX
        scaled[x], lifted[x] = value, value + _HALF
    normal, small = scaled.view(np.uint32), lifted.view(np.uint32)
    for x in range(out.size):
        bits = normal[x]
        rounded = (bits + _ROUND + ((bits >> _SHIFT) & _LAST_BIT) - _BIAS) >> _SHIFT
        out[x] = np.uint16(rounded if bits >= _LEAST_NORMAL else small[x] - _HALF_BITS)


@compiled
def _interleave(
    red: NDArray[np.uint16],
    green: NDArray[np.uint16],
    blue: NDArray[np.uint16],
    out: NDArray[np.uint16],
) -> None:
    for x in range(red.size):
        out[3 * x], out[3 * x + 1], out[3 * x + 2] = red[x], green[x], blue[x]


@compiled
def pack_half(planes: FloatArray, top: int, left: int, out: NDArray[np.uint16]) -> None:
    """``planes`` (3, h, w), at least 0 and at most 65504, into the pixels from ``top`` and ``left``
    on of ``out`` (H, 3 W), which holds the bits of half floats; to nearest, ties to even."""
    _, height, width = planes.shape
    halves = np.empty((3, width), np.uint16)
    scaled, lifted = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        for c in range(3):
            _halves(planes[c, y], scaled, lifted, halves[c])
        _interleave(halves[0], halves[1], halves[2], out[top + y, 3 * left : 3 * (left + width)])
