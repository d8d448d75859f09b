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

from hdrmerge.frames import Decisions, FloatArray, thrice
from hdrmerge.fusion.displaced import borrow
from hdrmerge.fusion.evidence import LEVELS, SLACK, evidence_of, level_of, surely_beyond
from hdrmerge.fusion.fill import fill_clipped, halved
from hdrmerge.fusion.noise import NoiseModel
from hdrmerge.fusion.radiometric import CLIP_HALO, unclipped
from hdrmerge.fusion.silhouettes import extended
from hdrmerge.fusion.swaying import restored
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import threads

_BAND, _HALO = 128, 32  # rows compared at once, and those around that windows reach into
_SATURATED = np.float32(0.95)  # linear values above are not compared
_TOLERANCE = np.float32(0.04)  # relative error of exposure and response that is no motion
_FEWEST_ALIKE = 100  # sampled pixels of a level that tell what is common
_STRONG, _WEAK = 4.5, 2.0  # standard deviations
_ISLAND = 150  # pixels: smaller holes in a moving thing move with it
_FEWEST = 20  # strong pixels that make a moving thing; one is enough where another frame shows it


def decide(stack: ExposureStack, noise: NoiseModel) -> Decisions:
    """Trust of each frame against the reference, (N, h, w) at the stack's resolution, and a fill
    for where the reference clips and no frame is trusted.

    ``noise`` may have been measured on the larger frames that ``stack`` is a proxy of. Costs about
    0.3 s of CPU a frame of 1.5 MP, and half a second where something is lost.
    """
    linear, below, trust = judge(stack, noise)
    fill = fill_clipped(stack, linear, below, trust)
    if fill is None:
        return Decisions(trust=trust)
    fill = borrow(stack, linear, below, trust, fill)
    return Decisions(trust=trust, fill=fill, fill_weight=np.ones(stack.shape, np.float32))


def judge(
    stack: ExposureStack, noise: NoiseModel
) -> tuple[list[FloatArray], list[FloatArray], FloatArray]:
    """Each frame's linear values (h, w, 3), how surely they are below saturation (h, w), and the
    trust (N, h, w) of ``decide``."""
    height, width = stack.shape
    noise = noise.averaged(height * width)
    bands = [slice(start, min(start + _BAND, height)) for start in range(0, height, _BAND)]
    reference, count = stack.reference, len(stack)
    linear = [np.empty((height, width, 3), np.float32) for _ in range(count)]
    below = [np.empty((height, width), np.float32) for _ in range(count)]
    trust = np.empty((count, height, width), np.float32)
    with ThreadPoolExecutor(threads()) as pool:
        see = partial(_see, stack, linear, below, trust)
        list(pool.map(see, *zip(*((k, rows) for k in range(count) for rows in bands), strict=True)))
        coarse = list(pool.map(_quarter, linear))
        suspect = np.zeros((height, width), np.bool_)
        for order in (range(reference - 1, -1, -1), range(reference + 1, len(stack))):
            used = [reference]
            for k in order:
                tolerance = _tolerance(stack, coarse, below, trust, used, k)
                compare = partial(_compare, stack, noise, linear, below, trust, used, k, tolerance)
                evidence = np.concatenate(list(pool.map(compare, bands)))
                trust[k] *= 1.0 - _moving(evidence, suspect)
                if k < reference:
                    trust[k] = _extended(stack, noise, linear[k], trust[k], below[reference], k)
                used.append(k)
                suspect |= trust[k] < 0.5
    return linear, below, restored(stack.exposures, reference, linear, below, trust)


def _see(
    stack: ExposureStack,
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
    k: int,
    rows: slice,
) -> None:
    """Fill in the ``rows`` of frame k: what it shows, how surely unclipped, and where at all."""
    height = trust.shape[1]
    top, bottom = max(0, rows.start - CLIP_HALO), min(height, rows.stop + CLIP_HALO)
    inner = slice(rows.start - top, rows.stop - top)
    shown, valid = stack.linear(k, slice(top, bottom))
    linear[k][rows], trust[k, rows] = shown[inner], valid[inner]
    below[k][rows] = unclipped(shown)[inner]


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
    sure = surely_beyond(noise, stack.reference, known, exposed, np.minimum(limit, _SATURATED / t))
    unseen = trust[k, band] == 0  # what a frame does not see is no difference
    b[unseen] = a[unseen]
    side = 1 << (len(SLACK) - 1)  # sizes that halve evenly
    pad = (0, -(bottom - top) % side, 0, -width % side)
    a, b, exposed, sure = (
        cv2.copyMakeBorder(x, *pad, cv2.BORDER_REPLICATE) for x in (a, b, exposed, sure)
    )
    evidence = evidence_of(noise, (stack.reference, k), t, tolerance, a, b, exposed, sure)
    return evidence[rows.start - top : rows.stop - top, :width]


def _at_common_saturation(
    known: FloatArray, limit: FloatArray, linear: FloatArray, t: np.float32
) -> tuple[FloatArray, FloatArray]:
    """Both sides of a comparison, cut at the radiance up to which both can tell it."""
    limit = thrice(np.minimum(limit, _SATURATED / t))
    return np.minimum(known, limit), np.minimum(linear / t, limit)


def _tolerance(
    stack: ExposureStack,
    coarse: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
    used: Sequence[int],
    k: int,
) -> FloatArray:
    """Relative error (levels,) that is no motion, by half stops of radiance from 2^-16 up, of
    frames seen by ``_quarter``.

    Response and exposure are never known exactly, least of all in the darks of a camera's tone
    curve: what separates frame k from the others at a level in most of the picture is no motion.
    """
    every = (slice(None, None, 4), slice(None, None, 4))
    some_trust = trust[(slice(None), *every)]
    known, limit, _ = _known(stack.exposures, coarse, [x[every] for x in below], some_trust, used)
    t = np.float32(stack.exposures[k])
    a, b = _at_common_saturation(known, limit, coarse[k], t)
    limit = np.minimum(limit, _SATURATED / t)
    seen = some_trust[k] > 0
    table = np.full(LEVELS, _TOLERANCE, np.float32)
    for channel in range(3):
        # where one side alone is cut the other is darker for being another thing, mostly: below
        # the cut of a long frame there may be nothing else
        told = seen & ((a[..., channel] < limit) == (b[..., channel] < limit))
        low, high = (np.maximum(x[..., channel][told], 2.0**-17) for x in (a, b))
        level = level_of(np.sqrt(low * high))
        error = np.log2(high / low)
        order = np.argsort(level, kind="stable")
        edges = np.searchsorted(level[order], np.arange(LEVELS + 1))
        for i in range(LEVELS):
            if edges[i + 1] - edges[i] >= _FEWEST_ALIKE:
                typical = abs(float(np.median(error[order[edges[i] : edges[i + 1]]])))
                table[i] = max(table[i], min(1.5 * np.log(2.0) * typical, 0.5))
    return table


def _quarter(image: FloatArray) -> FloatArray:
    """Every fourth pixel of the 5 x 5 mean."""
    import cv2

    return np.asarray(cv2.blur(image, (5, 5))[::4, ::4])


def _known(
    exposures: NDArray[np.float64],
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
    used: Sequence[int],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Radiance (h, w, 3) that the frames ``used`` agree on; up to which radiance they can tell it
    (h, w); and the exposure (h, w) that went into it."""
    limit = np.zeros_like(below[0])
    ceiling = np.zeros_like(linear[0])
    for k in used:
        trusted = (trust[k] > 0.5) / np.float32(exposures[k])
        np.maximum(limit, trusted * _SATURATED, out=limit)
        np.maximum(ceiling, linear[k] * thrice(trusted), out=ceiling)
    if len(used) == 1:
        return ceiling, limit, np.ones_like(limit)
    total = np.zeros_like(ceiling)
    exposed, coverage = np.zeros_like(limit), np.zeros_like(limit)
    for k in used:
        weight = trust[k] * below[k]
        total += thrice(weight) * linear[k]
        exposed += weight * np.float32(exposures[k])
        np.maximum(coverage, weight, out=coverage)
    total /= thrice(np.maximum(exposed, np.float32(1e-9)))
    total += thrice(np.clip(1.0 - 2.0 * coverage, 0.0, 1.0)) * (ceiling - total)
    return total, limit, np.maximum(exposed, np.float32(1e-3))


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
