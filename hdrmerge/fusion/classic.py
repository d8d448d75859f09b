"""Classical deghosting: which frames show, within the noise, what the reference shows.

Each frame is compared with what is known so far, nearest exposure first: the reference, then the
reference merged with the frames already accepted. Both sides are cut at the radiance at which
either saturates, so that a saturated value counts for what it says ("at least this bright"): a
frame that is darker than the reference's saturation where the reference clips, or that does not
clip where it should, is found like any other difference. The difference, less what a misalignment
of a pixel would explain, is weighed by the noise model over windows of three sizes; strong evidence
grows into the weaker evidence that it touches (hysteresis as in Canny 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import Decisions, FloatArray
from hdrmerge.fusion.displaced import borrow
from hdrmerge.fusion.fill import fill_clipped, halved
from hdrmerge.fusion.noise import NoiseModel
from hdrmerge.fusion.radiometric import unclipped
from hdrmerge.fusion.silhouettes import extended
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import threads

_BAND, _HALO = 128, 32  # rows compared at once, and those around that windows reach into
_SATURATED = np.float32(0.95)  # linear values above are not compared
_TOLERANCE = np.float32(0.04)  # relative error of exposure and response that is no motion
_LEVELS = 44  # of tolerances, half a stop each
_FEWEST_ALIKE = 100  # sampled pixels of a level that tell what is common
_SLACK = (0.7, 0.5, 0.4)  # share of the 3 x 3 range that misalignment may explain, by level
_STRONG, _WEAK = 4.5, 2.0  # standard deviations
_OVERRULED = (3.0, 5.0)  # standard deviations that a finer level would have seen
_ISLAND = 150  # pixels: smaller holes in a moving thing move with it
_FEWEST = 20  # strong pixels that make a moving thing; one is enough where another frame shows it


def decide(stack: ExposureStack, noise: NoiseModel) -> Decisions:
    """Trust of each frame against the reference, (N, h, w) at the stack's resolution, and a fill
    for where the reference clips and no frame is trusted.

    ``noise`` may have been measured on the larger frames that ``stack`` is a proxy of. Costs about
    0.2 s of CPU a frame of 1.5 MP.
    """
    height, width = stack.shape
    noise = noise.averaged(height * width)
    bands = [slice(start, min(start + _BAND, height)) for start in range(0, height, _BAND)]
    reference = stack.reference
    with ThreadPoolExecutor(threads()) as pool:
        frames = list(pool.map(stack.linear, range(len(stack))))
        linear = [x for x, _ in frames]
        trust = np.stack([valid.astype(np.float32) for _, valid in frames])
        below = list(pool.map(unclipped, linear))
        suspect = np.zeros((height, width), np.bool_)
        for order in (range(reference - 1, -1, -1), range(reference + 1, len(stack))):
            used = [reference]
            for k in order:
                tolerance = _tolerance(stack, linear, below, trust, used, k)
                compare = partial(_compare, stack, noise, linear, below, trust, used, k, tolerance)
                evidence = np.concatenate(list(pool.map(compare, bands)))
                trust[k] *= 1.0 - _moving(evidence, suspect)
                if k < reference:
                    trust[k] = _extended(stack, noise, linear[k], trust[k], below[reference], k)
                used.append(k)
                suspect |= trust[k] < 0.5
    fill = fill_clipped(stack, linear, below, trust)
    if fill is not None:
        fill = borrow(stack, linear, below, trust, fill)
    weight = None if fill is None else np.ones((height, width), np.float32)
    return Decisions(trust=trust, fill=fill, fill_weight=weight)


def _extended(
    stack: ExposureStack,
    noise: NoiseModel,
    linear: FloatArray,
    trust: FloatArray,
    below: FloatArray,
    k: int,
) -> FloatArray:
    """Trust (h, w) of a frame shorter than the reference, which is ``below`` saturation, as
    ``silhouettes.extended`` has it."""
    t = np.float32(stack.exposures[k])
    small = halved(linear)
    deviation = np.sqrt(noise.variance(np.maximum(small, 0.0), k) / np.float32(4.0)) / t
    return extended(trust, small / t, deviation, 1.0 - halved(below))


def _compare(
    stack: ExposureStack,
    noise: NoiseModel,
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
    used: Sequence[int],
    k: int,
    tolerance: FloatArray,
    rows: slice,
) -> FloatArray:
    """Standard deviations (rows, w) by which frame k differs from what the frames ``used`` say."""
    import cv2

    height, width = trust.shape[1:]
    top, bottom = max(0, rows.start - _HALO), min(height, rows.stop + _HALO)
    band = slice(top, bottom)
    known, limit, exposed = _known(
        stack.exposures, [x[band] for x in linear], [x[band] for x in below], trust[:, band], used
    )
    t = np.float32(stack.exposures[k])
    a, b = _at_common_saturation(known, limit, linear[k][band], t)
    unseen = trust[k, band] == 0  # what a frame does not see is no difference
    b[unseen] = a[unseen]
    side = 1 << (len(_SLACK) - 1)  # sizes that halve evenly
    pad = (0, -(bottom - top) % side, 0, -width % side)
    a, b, exposed = (cv2.copyMakeBorder(x, *pad, cv2.BORDER_REPLICATE) for x in (a, b, exposed))
    evidence = _evidence(noise, (stack.reference, k), t, tolerance, a, b, exposed)
    return evidence[rows.start - top : rows.stop - top, :width]


def _at_common_saturation(
    known: FloatArray, limit: FloatArray, linear: FloatArray, t: np.float32
) -> tuple[FloatArray, FloatArray]:
    """Both sides of a comparison, cut at the radiance up to which both can tell it."""
    limit = np.minimum(limit, _SATURATED / t)[..., None]
    return np.minimum(known, limit), np.minimum(linear / t, limit)


def _tolerance(
    stack: ExposureStack,
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
    used: Sequence[int],
    k: int,
) -> FloatArray:
    """Relative error (levels,) that is no motion, by half stops of radiance from 2^-16 up.

    Response and exposure are never known exactly, least of all in the darks of a camera's tone
    curve: what separates frame k from the others at a level in most of the picture is no motion.
    """
    every = (slice(None, None, 4), slice(None, None, 4))
    some_trust = trust[(slice(None), *every)]
    known, limit, _ = _known(
        stack.exposures, [_quarter(x) for x in linear], [x[every] for x in below], some_trust, used
    )
    t = np.float32(stack.exposures[k])
    a, b = _at_common_saturation(known, limit, _quarter(linear[k]), t)
    seen = some_trust[k] > 0
    table = np.full(_LEVELS, _TOLERANCE, np.float32)
    for channel in range(3):
        low, high = (np.maximum(x[..., channel][seen], 2.0**-17) for x in (a, b))
        level = _level(np.sqrt(low * high))
        error = np.log2(high / low)
        order = np.argsort(level, kind="stable")
        edges = np.searchsorted(level[order], np.arange(_LEVELS + 1))
        for i in range(_LEVELS):
            if edges[i + 1] - edges[i] >= _FEWEST_ALIKE:
                typical = abs(float(np.median(error[order[edges[i] : edges[i + 1]]])))
                table[i] = max(table[i], min(1.5 * np.log(2.0) * typical, 0.5))
    return table


def _quarter(image: FloatArray) -> FloatArray:
    """Every fourth pixel of the 5 x 5 mean."""
    import cv2

    return np.asarray(cv2.blur(image, (5, 5))[::4, ::4])


def _level(radiance: FloatArray) -> NDArray[np.intp]:
    """Half stops above 2^-16, as an index into the tolerances."""
    level = (np.log2(np.maximum(radiance, np.float32(1e-9))) + 16.0) * 2.0
    return np.clip(level, 0, _LEVELS - 1).astype(np.intp)


def _known(
    exposures: NDArray[np.float64],
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
    used: Sequence[int],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Radiance (h, w, 3) that the frames ``used`` agree on; up to which radiance they can tell it
    (h, w); and the exposure (h, w) that went into it."""
    total = np.zeros_like(linear[0])
    exposed, coverage, limit = (np.zeros_like(below[0]) for _ in range(3))
    ceiling = np.zeros_like(total)
    for k in used:
        t = np.float32(exposures[k])
        weight = trust[k] * below[k]
        total += weight[..., None] * linear[k]
        exposed += weight * t
        np.maximum(coverage, weight, out=coverage)
        trusted = (trust[k] > 0.5) / t
        np.maximum(limit, trusted * _SATURATED, out=limit)
        np.maximum(ceiling, linear[k] * trusted[..., None], out=ceiling)
    if len(used) == 1:
        return ceiling, limit, np.ones_like(exposed)
    total /= np.maximum(exposed, np.float32(1e-9))[..., None]
    lacking = np.clip(1.0 - 2.0 * coverage, 0.0, 1.0)[..., None]
    total += lacking * (ceiling - total)
    return total, limit, np.maximum(exposed, np.float32(1e-3))


def _evidence(
    noise: NoiseModel,
    pair: tuple[int, int],
    t: np.float32,
    tolerance: FloatArray,
    a: FloatArray,
    b: FloatArray,
    exposed: FloatArray,
) -> FloatArray:
    """Standard deviations (h, w) by which ``b``, of exposure ``t``, differs from ``a``; both
    (h, w, 3) radiance with sides that halve evenly. ``pair``: the frames that their noise is of."""
    import cv2

    levels: list[tuple[FloatArray, FloatArray]] = []  # deviations, and the power to see any
    pooled = 9.0  # pixels in a window
    for slack in _SLACK:
        if levels:
            half = (a.shape[1] // 2, a.shape[0] // 2)
            a, b, exposed = (
                cv2.resize(x, half, interpolation=cv2.INTER_AREA) for x in (a, b, exposed)
            )
            pooled *= 4.0
        mean_a, mean_b = cv2.blur(a, (3, 3)), cv2.blur(b, (3, 3))
        variance = _variance(noise, pair, t, mean_a, mean_b, exposed, pooled)
        red, green, blue = cv2.split(cv2.max(mean_a, mean_b))
        brightest = cv2.max(cv2.max(red, green), blue)
        variance += np.square(tolerance[_level(brightest)] * brightest)[..., None]
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
    pooled: float,
) -> FloatArray:
    """Variance of the difference of window means ``a`` and ``b`` of ``pooled`` pixels, (h, w, 3).

    Near black a camera's codes end at zero, which lifts the mean by up to 0.4 standard deviations:
    an error that no averaging removes, as are those of the size of a code's step.
    """
    reference, k = pair
    variance = noise.variance(a, reference) / exposed[..., None]
    variance += noise.variance(b * t, k) / (t * t)
    variance *= np.float32(1.0 / pooled)
    variance += np.float32(noise.step**2 * (1.0 + 1.0 / float(t) ** 2))
    for value, sigma in (
        (a, float(noise.read[k]) ** 0.5 / float(t)),
        (b, float(noise.read[reference]) ** 0.5),
    ):
        beyond_black = np.square(value * np.float32(0.4 / sigma))
        variance += np.float32((0.5 * sigma) ** 2) / (1.0 + np.square(beyond_black))
        variance += np.float32((0.16 * sigma) ** 2)
    return variance


def _moving(evidence: FloatArray, suspect: NDArray[np.bool_]) -> FloatArray:
    """Soft mask (h, w) in [0, 1] of what moves: weak evidence that touches enough of the strong,
    small holes in it closed, with a rim of a pixel and a soft edge. ``suspect``: where frames
    already judged show something that moves; there little is enough."""
    import cv2

    weak = (evidence > _WEAK).astype(np.uint8)
    count, labels = cv2.connectedComponents(weak, connectivity=8, ltype=cv2.CV_32S)
    strong = evidence > _STRONG
    moving = np.bincount(labels[strong], minlength=count) >= _FEWEST
    moving[labels[strong & suspect]] = True
    moving[0] = False
    mask = cv2.dilate(moving.astype(np.uint8)[labels], np.ones((3, 3), np.uint8))
    _, labels, shapes, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    island = shapes[:, cv2.CC_STAT_AREA] < min(_ISLAND, mask.size // 20)
    island[0] = True  # the mask itself
    mask = island.astype(np.float32)[labels]
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.0), dtype=np.float32)
