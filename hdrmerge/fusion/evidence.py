"""How much two radiance maps differ, in standard deviations of what noise and misalignment make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray, brightest, thrice
from hdrmerge.fusion.noise import NoiseModel

LEVELS = 44  # of tolerances, half a stop each
SLACK = (0.7, 0.5, 0.4)  # share of the 3 x 3 range that misalignment may explain, by level
_CUT = (2.0, 5.0)  # standard deviations above a cut: noise left, none left
_OVERRULED = (3.0, 5.0)  # standard deviations that a finer level would have seen


def level_of(radiance: FloatArray) -> NDArray[np.intp]:
    """Half stops above 2^-16, as an index into the tolerances."""
    level = (np.log2(np.maximum(radiance, np.float32(1e-9))) + 16.0) * 2.0
    return np.clip(level, 0, LEVELS - 1).astype(np.intp)


def evidence_of(
    noise: NoiseModel,
    pair: tuple[int, int],
    t: np.float32,
    tolerance: FloatArray,
    a: FloatArray,
    b: FloatArray,
    exposed: FloatArray,
    sure: FloatArray,
) -> FloatArray:
    """Standard deviations (h, w) by which ``b``, of exposure ``t``, differs from ``a``; both
    (h, w, 3) radiance with sides that halve evenly. ``pair``: the frames that their noise is of;
    ``exposed`` (h, w) is the exposure behind ``a``, ``sure`` (h, w) where ``a`` is cut and without
    noise (``surely_beyond``)."""
    import cv2

    levels: list[tuple[FloatArray, FloatArray]] = []  # deviations, and the power to see any
    pooled = 9.0  # pixels in a window
    for slack in SLACK:
        if levels:
            half = (a.shape[1] // 2, a.shape[0] // 2)
            a, b, exposed, sure = (
                cv2.resize(x, half, interpolation=cv2.INTER_AREA) for x in (a, b, exposed, sure)
            )
            pooled *= 4.0
        mean_a, mean_b = cv2.blur(a, (3, 3)), cv2.blur(b, (3, 3))
        doubt = np.maximum(1.0 - cv2.blur(sure, (3, 3)), np.float32(1e-3))
        variance = _variance(noise, pair, t, mean_a, mean_b, exposed, doubt, pooled)
        level = brightest(cv2.max(mean_a, mean_b))
        variance += thrice(np.square(tolerance[level_of(level)] * level))
        outside_a, range_a = _beyond(mean_a, mean_b, slack)
        outside_b, range_b = _beyond(mean_b, mean_a, slack)
        difference = cv2.min(outside_a, outside_b)
        square = cv2.divide(cv2.multiply(difference, difference), variance)
        variance += np.square(cv2.max(range_a, range_b) * np.float32(slack / 2))
        levels.append((cv2.sqrt(_sum(square)), _sum(cv2.divide(1.0, variance))))
    evidence, power = levels.pop()
    while levels:
        finer, finer_power = levels.pop()
        size = finer.shape[::-1]
        evidence = cv2.resize(evidence, size)
        # Large windows reach beyond a thing's outline; small ones overrule them wherever they
        # would have seen such a difference.
        expected = evidence * cv2.sqrt(finer_power / cv2.resize(power, size))
        evidence = cv2.max(finer, evidence * _fade(expected, *_OVERRULED))
        power = finer_power
    return np.asarray(evidence, dtype=np.float32)


def surely_beyond(
    noise: NoiseModel, reference: int, known: FloatArray, exposed: FloatArray, limit: FloatArray
) -> FloatArray:
    """How surely radiance ``known`` (h, w, 3), of ``exposed`` (h, w), lies beyond the ``limit``
    (h, w) that it is cut at, (h, w) in [0, 1]: a reference far above what a long frame can tell has
    no noise left there, and contradicts the frame by the least that it falls short."""
    deviation = np.sqrt(noise.variance(limit, reference) / exposed)
    return 1.0 - _fade((brightest(known) - limit) / deviation, *_CUT)


def _sum(image: FloatArray) -> FloatArray:
    """(h, w, 3) -> (h, w): the sum of the channels."""
    import cv2

    return np.asarray(cv2.transform(image, np.ones((1, 3), np.float32)))


def _fade(value: FloatArray, low: float, high: float) -> FloatArray:
    """1 up to ``low``, 0 from ``high``, linear between."""
    faded = (np.float32(high) - value) * np.float32(1.0 / (high - low))
    return np.asarray(np.clip(faded, 0.0, 1.0), dtype=np.float32)


def _beyond(a: FloatArray, b: FloatArray, slack: float) -> tuple[FloatArray, FloatArray]:
    """How far ``b`` lies outside the range of ``a`` in the 3 x 3 pixels around, the range scaled by
    ``slack`` about a; and that range."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    lowest, highest = cv2.erode(a, kernel), cv2.dilate(a, kernel)
    extent = cv2.subtract(highest, lowest)
    lowest = cv2.addWeighted(lowest, slack, a, 1.0 - slack, 0.0)
    highest = cv2.addWeighted(highest, slack, a, 1.0 - slack, 0.0)
    outside = cv2.max(cv2.subtract(b, highest), cv2.subtract(lowest, b))
    return np.maximum(outside, 0.0), np.asarray(extent, dtype=np.float32)


def _variance(
    noise: NoiseModel,
    pair: tuple[int, int],
    t: np.float32,
    a: FloatArray,
    b: FloatArray,
    exposed: FloatArray,
    doubt: FloatArray,
    pooled: float,
) -> FloatArray:
    """Variance of the difference of window means ``a`` and ``b`` of ``pooled`` pixels, (h, w, 3).

    Where ``a`` is cut and surely beyond, without ``doubt`` (h, w), it has no error. Near black a
    camera's codes end at zero, which lifts the mean by up to 0.4 standard deviations: an error that
    no averaging removes, as are those of the size of a code's step.
    """
    reference, k = pair
    own = noise.variance(a, reference) / thrice(exposed)
    own *= np.float32(1.0 / pooled)
    own += thrice(np.square(np.float32(noise.step) / np.maximum(exposed, np.float32(1.0))))
    own += _at_black(b, float(noise.read[reference]) ** 0.5)
    own *= thrice(doubt)
    other = noise.variance(b * t, k) / (t * t)
    other *= np.float32(1.0 / pooled)
    other += np.float32((noise.step / float(t)) ** 2)
    other += _at_black(a, float(noise.read[k]) ** 0.5 / float(t))
    own += other
    return own


def _at_black(value: FloatArray, sigma: float) -> FloatArray:
    """Variance of a frame whose read noise is ``sigma`` where the other says ``value``."""
    beyond_black = np.square(value * np.float32(0.4 / sigma))
    lifted = np.float32((0.5 * sigma) ** 2) / (1.0 + np.square(beyond_black))
    return np.asarray(lifted + np.float32((0.16 * sigma) ** 2), np.float32)
