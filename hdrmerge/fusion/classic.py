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

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import Decisions, FloatArray
from hdrmerge.fusion.displaced import borrow
from hdrmerge.fusion.evidence import LEVELS, Shown, Tolerance, evidence_of, level_of, sides_of
from hdrmerge.fusion.fill import fill_clipped, halved
from hdrmerge.fusion.noise import NoiseModel
from hdrmerge.fusion.radiometric import CLIP_HALO, unclipped
from hdrmerge.fusion.silhouettes import extended
from hdrmerge.fusion.swaying import restored
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import threads
from hdrmerge.warp import mask_of

_BAND = 128  # rows compared at once
_EVERY = 4  # pixels, of which one tells what is common
_TOLERANCE = np.float32(0.04)  # relative error of exposure and response that is no motion
_NEARLY = np.float32(0.9)  # of saturation: from here on it tells how colours fade to white
_MOST_FADED = 1.5  # stops by which they may
_FEWEST_ALIKE = 100  # sampled pixels of a level that tell what is common
_STRONG, _WEAK = 4.5, 2.0  # standard deviations
_ISLAND = 150  # pixels: smaller holes in a moving thing move with it
_FEWEST = 20  # strong pixels that make a moving thing; one is enough where another frame shows it


def decide(stack: ExposureStack, noise: NoiseModel) -> Decisions:
    """Trust of each frame against the reference, (N, h, w) at the stack's resolution, and a fill
    for where the reference clips and no frame is trusted.

    ``noise`` may have been measured on the larger frames that ``stack`` is a proxy of.
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
    shape = (count, height, width)
    shown = Shown(
        np.empty((*shape, 3), np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        stack.exposures,
        reference,
    )
    trust = shown.trust
    with ThreadPoolExecutor(threads()) as pool:
        see = partial(_see, stack, shown)
        list(pool.map(see, *zip(*((k, rows) for k in range(count) for rows in bands), strict=True)))
        coarse = _coarse(shown, pool)
        suspect = np.zeros((height, width), np.bool_)

        def begin(k: int, used: Sequence[int]) -> tuple[FloatArray, Iterator[None]]:
            """The evidence against frame k, judged by the frames ``used``, and what to wait for."""
            evidence = np.empty((height, width), np.float32)
            tolerance = _tolerance(coarse, noise, used, k)
            compare = partial(evidence_of, shown, noise, used, k, tolerance, out=evidence)
            return evidence, pool.map(compare, bands)

        sides = [range(reference - 1, -1, -1), range(reference + 1, count)]
        begun = {order[0]: begin(order[0], [reference]) for order in sides if order}
        for order in sides:
            used = [reference]
            for k in order:
                evidence, bands_done = begun.pop(k) if k in begun else begin(k, used)
                list(bands_done)
                trust[k] *= 1.0 - _moving(evidence, suspect)
                if k < reference:
                    trust[k] = _extended(shown, noise, k)
                coarse.trust[k] = trust[k, ::_EVERY, ::_EVERY]
                used.append(k)
                suspect |= trust[k] < 0.5
    linear, below = list(shown.linear), list(shown.below)
    return linear, below, restored(stack.exposures, reference, linear, below, trust)


def _see(stack: ExposureStack, shown: Shown, k: int, rows: slice) -> None:
    """Fill in the ``rows`` of frame k: what it shows, how surely unclipped, and where at all."""
    import cv2

    top, bottom = max(0, rows.start - CLIP_HALO), min(stack.shape[0], rows.stop + CLIP_HALO)
    inner = slice(rows.start - top, rows.stop - top)
    planes, inside = stack.planes(k, slice(top, bottom))
    cv2.merge(list(planes[:, inner]), dst=shown.linear[k, rows])
    shown.trust[k, rows] = mask_of(inside[inner], planes.shape[2])
    shown.below[k, rows] = unclipped(list(planes))[inner]


def _extended(shown: Shown, noise: NoiseModel, k: int) -> FloatArray:
    """Trust (h, w) of frame k, which is shorter than the reference, as ``silhouettes.extended``
    has it."""
    t = np.float32(shown.exposures[k])
    small = halved(shown.linear[k])
    deviation = np.sqrt(noise.variance(np.maximum(small, 0.0), k) / np.float32(4.0)) / t
    clips = 1.0 - halved(shown.below[shown.reference])
    return extended(shown.trust[k], small / t, deviation, clips)


def _coarse(shown: Shown, pool: ThreadPoolExecutor) -> Shown:
    """Every fourth pixel: the 5 x 5 mean of what it shows, and what else there is of it."""
    import cv2

    def blurred(image: FloatArray) -> FloatArray:
        return np.asarray(cv2.blur(image, (5, 5))[::_EVERY, ::_EVERY])

    below, trust = (np.array(x[:, ::_EVERY, ::_EVERY]) for x in (shown.below, shown.trust))
    linear = np.stack(list(pool.map(blurred, shown.linear)))
    return Shown(linear, below, trust, shown.exposures, shown.reference)


def _tolerance(coarse: Shown, noise: NoiseModel, used: Sequence[int], k: int) -> Tolerance:
    """Relative error that is no motion, by half stops of radiance from 2^-16 up, and of clipping
    colours.

    Response and exposure are never known exactly, least of all in the darks of a camera's tone
    curve: what separates frame k from the others at a level in most of the picture is no motion.
    """
    *sides, _, _, limit = sides_of(coarse, noise, used, k, slice(0, coarse.trust.shape[1]))
    seen = coarse.trust[k] > 0
    table = np.full(LEVELS, _TOLERANCE, np.float32)
    for a, b in zip(sides[:3], sides[3:], strict=True):
        # where one side alone is cut the other is darker for being another thing, mostly: below
        # the cut of a long frame there may be nothing else
        told = seen & ((a < limit) == (b < limit))
        low, high = (np.maximum(x[told], np.float32(2.0**-17)) for x in (a, b))
        level = level_of(np.sqrt(low * high))
        error = np.log2(high / low)[np.argsort(level, kind="stable")]
        edges = np.concatenate([[0], np.cumsum(np.bincount(level, minlength=LEVELS))])
        for i in range(LEVELS):
            if edges[i + 1] - edges[i] >= _FEWEST_ALIKE:
                typical = abs(float(np.median(error[edges[i] : edges[i + 1]])))
                table[i] = max(table[i], min(1.5 * np.log(2.0) * typical, 0.5))
    less, more = (sides[3:], sides[:3]) if k < coarse.reference else (sides[:3], sides[3:])
    return Tolerance(table, _faded(less, more, seen, limit))


def _faded(
    less: Sequence[FloatArray],
    more: Sequence[FloatArray],
    seen: NDArray[np.bool_],
    limit: FloatArray,
) -> float:
    """How many times too bright the ``more`` exposed side is, planes (3), where both clip in some
    channel: told by those other channels in which it nearly clips, too."""
    clips = seen & (np.maximum.reduce(less) >= limit) & (np.maximum.reduce(more) >= limit)
    stops = 0.0
    for a, b in zip(less, more, strict=True):
        told = clips & (b < limit) & (b > _NEARLY * limit)
        if np.count_nonzero(told) >= _FEWEST_ALIKE:
            errors = np.log2(b[told] / np.maximum(a[told], np.float32(2.0**-17)))
            stops = max(stops, 2.0 * float(np.median(errors)) - np.log2(1.0 + 2.0 * _TOLERANCE))
    return float(2.0 ** min(stops, _MOST_FADED))


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
    if not moving.any():
        return np.zeros(evidence.shape, np.float32)
    mask = cv2.dilate(moving.astype(np.uint8)[labels], np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(1 - mask, connectivity=4, ltype=cv2.CV_32S)
    island = np.bincount(labels.ravel()) < min(_ISLAND, mask.size // 20)
    island[0] = False  # the mask itself
    if island.any():
        mask |= island.astype(np.uint8)[labels]
    mask = mask.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.0), dtype=np.float32)
