"""The explicit merge: the noise-optimal mean of what the frames say about each pixel's radiance.

A sample of frame k is x_k / t_k with variance v(X t_k) / t_k^2, where v is the noise model. The
merge weighs it by the inverse (Granados et al. 2010, eq. 6) times how far it is from clipping
times how far deghosting trusts it. The variance is taken at the value that all frames together
predict (a first merge by exposure time, Hanji et al. 2020), never at the sample itself: a weight
that follows the sample's own noise biases the mean towards dark samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from hdrmerge.frames import Decisions, FloatArray, HalfArray, RadianceMap, to_half
from hdrmerge.fusion.noise import NoiseModel
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import threads

Planes = Sequence[FloatArray]  # red, green and blue, (h, w) each
Tile = tuple[slice, slice]  # rows and columns

_TILE = 128, 1024  # what merging so many rows and columns needs stays in the processor's cache
CLIP_HALO = 2  # pixels that the clipping test looks beyond a tile
_OWN = (0.90, 0.97)  # a sample fades out between these linear values of its largest channel,
_AROUND = (0.85, 0.93)  # and between these of the mean around it: noise hides single clipped ones
_DARK = (0.1, 0.3)  # below, what a clipped neighbour lends a demosaiced sample does not matter
_SHORTEST = np.float32(1e-4)  # what is left of the shortest frame's weight where it clips
_NO_TRUST = 0.05  # and less is none: 64 times the exposure outweighs small factors
_ENOUGH = 0.5  # below this trust the result turns to the reference's own value


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """``radiance``; the fractions of pixels that clip in every frame and that the fill made."""

    radiance: RadianceMap
    clipped_everywhere: float
    filled: float


def fuse(
    stack: ExposureStack,
    decisions: Decisions | None,
    noise: NoiseModel,
    *,
    half: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Fused:
    """Merge ``stack`` to radiance in linear Rec.709, the reference's saturation = 1.

    ``decisions`` (None: trust everything) may be smaller than the frames. Where no frame is
    trusted and unclipped the result is the reference's own value, or the fill where that is
    brighter. Tiles are merged side by side; memory does not grow with the number of pixels beyond
    the result itself, which is of half floats with ``half``.
    """
    height, width = stack.shape
    radiance = np.empty((height, width, 3), np.float16 if half else np.float32)
    tiles = [
        (slice(y, min(y + _TILE[0], height)), slice(x, min(x + _TILE[1], width)))
        for y in range(0, height, _TILE[0])
        for x in range(0, width, _TILE[1])
    ]
    counts = np.zeros(2)
    with ThreadPoolExecutor(threads()) as pool:
        merge = partial(_fuse_tile, stack, decisions, noise, radiance)
        for done, count in enumerate(pool.map(merge, tiles), 1):
            counts += count
            if progress is not None:
                progress("fuse", done / len(tiles))
    clipped, filled = counts / (height * width)
    return Fused(RadianceMap(radiance), float(clipped), float(filled))


def _fuse_tile(
    stack: ExposureStack,
    decisions: Decisions | None,
    noise: NoiseModel,
    out: FloatArray | HalfArray,
    tile: Tile,
) -> tuple[int, int]:
    """Merge a tile into ``out``; returns how many of its pixels clip, and are filled."""
    import cv2

    height, width = stack.shape
    outer, inner = _with_halo(tile, stack.shape)
    reference, exposures = stack.reference, stack.exposures.astype(np.float32)

    samples: list[Planes] = []
    weights: list[FloatArray] = []  # (h, w): unclipped times trusted
    coverage = np.zeros(out[tile].shape[:2], np.float32)
    clipped = np.ones(coverage.shape, np.bool_)
    for k in range(len(stack)):
        linear, valid = stack.linear(k, *outer)
        planes = cv2.split(linear)
        usable = unclipped(planes, demosaiced=stack.frames[k].encoding == "linear")[inner]
        clipped &= (usable < 0.5) | ~valid[inner]
        samples.append([plane[inner] for plane in planes])
        weight = valid[inner].astype(np.float32)
        trust = None
        if decisions is not None and k != reference:
            trust = _resample(decisions.trust[k], tile, (height, width))
            weight *= cv2.threshold(trust, _NO_TRUST, 0.0, cv2.THRESH_TOZERO)[1]
        if k == 0:
            np.maximum(coverage, weight, out=coverage)
            weight *= np.maximum(usable, _SHORTEST)
        else:
            weight *= usable
            np.maximum(coverage, weight, out=coverage)
        weights.append(weight)

    planes = _mean(samples, weights, exposures, noise)
    filled = 0
    poor = np.flatnonzero(coverage < _ENOUGH)
    if poor.size:
        rows, columns = np.unravel_index(poor, coverage.shape)
        own = [np.maximum(plane[rows, columns], 0.0) for plane in samples[reference]]
        fallback = np.stack(own, axis=1)
        share = 1.0 - coverage.ravel()[poor] / np.float32(_ENOUGH)
        if decisions is not None and decisions.fill is not None:
            fill = _resample(decisions.fill, tile, (height, width))[rows, columns]
            amount = np.ones_like(share)
            if decisions.fill_weight is not None:
                part = _resample(decisions.fill_weight, tile, (height, width))
                amount = part[rows, columns]
            amount *= share  # the rim of what clips is known well enough
            fallback += amount[:, None] * _brighter(fill, fallback)
            filled = int(np.count_nonzero(share * amount > 0.5))
        for plane, value in zip(planes, fallback.T, strict=True):
            mean = plane.ravel()[poor]
            plane.ravel()[poor] = mean + share * (value - mean)
    merged = np.asarray(cv2.merge(planes), dtype=np.float32)

    _to_rec709(merged, stack, samples[0])
    np.maximum(merged, 0.0, out=merged)
    out[tile] = to_half(merged) if out.dtype == np.float16 else merged
    return int(np.count_nonzero(clipped)), filled


def _with_halo(tile: Tile, shape: tuple[int, int]) -> tuple[Tile, Tile]:
    """A tile with what the clipping test sees around it, and where in that the tile itself lies."""
    outer, inner = [], []
    for part, length in zip(tile, shape, strict=True):
        first = max(0, part.start - CLIP_HALO)
        outer.append(slice(first, min(length, part.stop + CLIP_HALO)))
        inner.append(slice(part.start - first, part.stop - first))
    return (outer[0], outer[1]), (inner[0], inner[1])


def unclipped(linear: FloatArray | Planes, *, demosaiced: bool = False) -> FloatArray:
    """(h, w) in [0, 1]: how surely a linear frame, (h, w, 3) or its planes, is below saturation.

    Judged by the largest channel, so that all three fade out together and highlights keep their
    hue, at the pixel and in the mean around it: near saturation noise, and JPEG beside bright
    edges, push clipped pixels back below any threshold. A ``demosaiced`` sample beside a clipped
    one was interpolated from it, and counts less unless it is dark itself.
    """
    import cv2

    red, green, blue = cv2.split(linear) if isinstance(linear, np.ndarray) else linear
    brightest = cv2.max(cv2.max(red, green), blue)
    if float(brightest.max()) <= _AROUND[0]:
        return np.ones(brightest.shape, np.float32)
    np.minimum(brightest, 1.0, out=brightest)
    around = cv2.GaussianBlur(brightest, (5, 5), 1.0)
    usable = _fade(around, *_AROUND)
    if demosaiced:
        beside = _fade(cv2.dilate(brightest, np.ones((3, 3), np.uint8)), *_OWN)
        usable = cv2.min(usable, cv2.max(beside, _fade(brightest.copy(), *_DARK)))
    return np.asarray(cv2.min(usable, _fade(brightest, *_OWN)), dtype=np.float32)


def _fade(value: FloatArray, low: float, high: float) -> FloatArray:
    """1 up to ``low``, 0 from ``high``, linear between; in place."""
    value *= np.float32(-1.0 / (high - low))
    value += np.float32(high / (high - low))
    np.clip(value, 0.0, 1.0, out=value)
    return value


def _mean(
    samples: list[Planes], weights: list[FloatArray], exposures: FloatArray, noise: NoiseModel
) -> list[FloatArray]:
    """Inverse-variance mean, three planes, of ``samples / exposures``, after one by exposure."""
    import cv2

    exposed = np.full_like(weights[0], 1e-20)
    timed = []
    for weight, t in zip(weights, exposures, strict=True):
        timed.append(weight * t)
        exposed += timed[-1]
    merged = []
    for channel in range(3):
        first = np.zeros_like(exposed)
        for planes, weight in zip(samples, weights, strict=True):
            cv2.accumulateProduct(planes[channel], weight, first)
        first /= exposed
        np.maximum(first, 0.0, out=first)
        total = np.zeros_like(exposed)
        weight_sum = np.full_like(exposed, 1e-20)
        scratch = np.empty_like(exposed)
        for k, (planes, t) in enumerate(zip(samples, exposures, strict=True)):
            # the noise model's variance at first * t, unfolded
            np.multiply(first, np.float32(noise.curve * t * t), out=scratch)
            scratch += np.float32(noise.gain[k] * t)
            scratch *= first
            scratch += np.float32(noise.read[k])
            np.divide(timed[k], scratch, out=scratch)  # weight t^2 / variance, over t
            cv2.accumulateProduct(planes[channel], scratch, total)
            cv2.scaleAdd(scratch, float(t), weight_sum, weight_sum)
        total /= weight_sum
        merged.append(total)
    return merged


def _brighter(fill: FloatArray, clipped: FloatArray) -> FloatArray:
    """What ``fill`` (n, 3) adds to the reference's own values (n, 3) where these clip.

    A channel that does not clip is known: the fill is dimmed until it exceeds none of those, so
    that a flame stays orange.
    """
    unclipped_share = _fade(clipped.copy(), *_OWN)
    known = (clipped + np.float32(1e-6)) / np.maximum(fill * unclipped_share, np.float32(1e-6))
    dimmed = fill * np.minimum(known.min(axis=1, keepdims=True), 1.0)
    return np.asarray(np.maximum(dimmed - clipped, 0.0), dtype=np.float32)


def _to_rec709(merged: FloatArray, stack: ExposureStack, shortest: Planes) -> None:
    """White balance and camera matrix, in place, clipped highlights kept neutral.

    Balancing raises a clipped pixel's channels by different factors, which would tint it. What
    clips even in the shortest frame is only known to be at least so bright: such a channel is
    raised to the pixel's brightest one.
    """
    frame = stack.frames[stack.reference]
    balance = np.asarray(frame.white_balance, np.float32)
    if not np.all(balance == 1.0):
        merged *= balance
        saturated = 1.0 - _fade(np.stack(shortest, axis=2), *_OWN)
        saturated *= merged.max(axis=2, keepdims=True) - merged
        merged += saturated
    if not np.array_equal(frame.to_rec709, np.eye(3)):
        merged[:] = merged @ frame.to_rec709.astype(np.float32).T


def _resample(plane: FloatArray, tile: Tile, shape: tuple[int, int]) -> FloatArray:
    """A tile of a proxy plane (h, w[, c]) brought to the frames' ``shape``, bilinearly."""
    import cv2

    if plane.shape[:2] == shape:
        return plane[tile]
    part, matrix = [], np.zeros((2, 3))
    for axis, (own, full) in enumerate(zip(plane.shape, shape, strict=False)):
        scale = own / full
        first, last = ((n + 0.5) * scale - 0.5 for n in (tile[axis].start, tile[axis].stop - 1))
        part.append(slice(max(0, int(first) - 1), min(own, int(last) + 3)))
        matrix[1 - axis, [1 - axis, 2]] = scale, first - part[axis].start
    rows, columns = tile
    size = (columns.stop - columns.start, rows.stop - rows.start)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    near = plane[tuple(part)]
    if near.ndim == 2 and near.min() == near.max():
        return np.full(size[::-1], near[0, 0], np.float32)
    return np.asarray(
        cv2.warpAffine(near, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    )
