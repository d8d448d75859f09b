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

from hdrmerge.frames import Decisions, FloatArray, Frame, HalfArray, RadianceMap
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
_NO_TRUST = np.float32(0.05)  # and less is none: 64 times the exposure outweighs small factors
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
    from hdrmerge.fusion.merge_loops import merge_planes, pack_half

    outer, inner = _with_halo(tile, stack.shape)
    reference, exposures = stack.reference, stack.exposures.astype(np.float32)
    size = tuple(part.stop - part.start for part in tile)
    around = tuple(part.stop - part.start for part in outer)

    samples = np.empty((len(stack), 3, *around), np.float32)
    usable = np.empty((len(stack), *around), np.float32)
    trust = np.ones((len(stack), *size), np.float32)
    inside = np.empty((len(stack), around[0], 2), np.int64)
    for k in range(len(stack)):
        _, inside[k] = stack.planes(k, *outer, out=samples[k])
        demosaiced = stack.frames[k].encoding == "linear"
        unclipped(list(samples[k]), demosaiced=demosaiced, out=usable[k])
        if decisions is not None and k != reference:
            trust[k] = _resample(decisions.trust[k], tile, stack.shape)

    planes, coverage = np.empty((3, *size), np.float32), np.empty(size, np.float32)
    clipped = merge_planes(
        samples,
        usable,
        trust,
        inside,
        (inner[0].start, inner[1].start),
        exposures,
        noise.terms,
        _NO_TRUST,
        _SHORTEST,
        planes,
        coverage,
    )
    filled = _fill_in(planes, samples[reference][:, *inner], coverage, decisions, tile, stack.shape)
    planes = _to_rec709(planes, stack.frames[reference], samples[0][:, *inner])
    if out.dtype == np.float16:
        pack_half(planes, tile[0].start, tile[1].start, out.view(np.uint16).reshape(len(out), -1))
    else:
        out[tile] = np.maximum(planes, 0.0).transpose(1, 2, 0)
    return clipped, filled


def _fill_in(
    planes: FloatArray,
    own: FloatArray,
    coverage: FloatArray,
    decisions: Decisions | None,
    tile: Tile,
    shape: tuple[int, int],
) -> int:
    """Turn ``planes`` (3, h, w), where little covers them, to the reference's ``own`` values, or to
    the fill where that is brighter, in place; returns how many pixels are filled."""
    poor = np.flatnonzero(coverage < _ENOUGH)
    if not poor.size:
        return 0
    rows, columns = np.unravel_index(poor, coverage.shape)
    fallback = np.maximum(own[:, rows, columns], 0.0).T
    share = 1.0 - coverage.ravel()[poor] / np.float32(_ENOUGH)
    filled = 0
    if decisions is not None and decisions.fill is not None:
        fill = _resample(decisions.fill, tile, shape)[rows, columns]
        amount = share.copy()  # the rim of what clips is known well enough
        if decisions.fill_weight is not None:
            amount *= _resample(decisions.fill_weight, tile, shape)[rows, columns]
        fallback = fallback + amount[:, None] * _brighter(fill, fallback)
        filled = int(np.count_nonzero(share * amount > 0.5))
    for plane, value in zip(planes, fallback.T, strict=True):
        mean = plane.ravel()[poor]
        plane.ravel()[poor] = mean + share * (value - mean)
    return filled


def _with_halo(tile: Tile, shape: tuple[int, int]) -> tuple[Tile, Tile]:
    """A tile with what the clipping test sees around it, and where in that the tile itself lies."""
    outer, inner = [], []
    for part, length in zip(tile, shape, strict=True):
        first = max(0, part.start - CLIP_HALO)
        outer.append(slice(first, min(length, part.stop + CLIP_HALO)))
        inner.append(slice(part.start - first, part.stop - first))
    return (outer[0], outer[1]), (inner[0], inner[1])


def unclipped(
    linear: FloatArray | Planes, *, demosaiced: bool = False, out: FloatArray | None = None
) -> FloatArray:
    """(h, w) in [0, 1]: how surely a linear frame, (h, w, 3) or its planes, is below saturation.

    Judged by the largest channel, so that all three fade out together and highlights keep their
    hue, at the pixel and in the mean around it: near saturation noise, and JPEG beside bright
    edges, push clipped pixels back below any threshold. A ``demosaiced`` sample beside a clipped
    one was interpolated from it, and counts less unless it is dark itself. ``out`` is filled, if
    it is given.
    """
    import cv2

    from hdrmerge.fusion.merge_loops import brightest_of, fade_clipped

    red, green, blue = cv2.split(linear) if isinstance(linear, np.ndarray) else linear
    brightest = np.empty(red.shape, np.float32)
    usable = np.empty(red.shape, np.float32) if out is None else out
    if brightest_of(red, green, blue, brightest) <= _AROUND[0]:
        usable[:] = 1.0
        return usable
    limits = [(high, 1.0 / (high - low)) for low, high in (_OWN, _AROUND)]
    fade_clipped(brightest, np.array(limits, np.float32).ravel(), usable)
    if demosaiced:
        beside = _fade(cv2.dilate(brightest, np.ones((3, 3), np.uint8)), *_OWN)
        beside = cv2.max(beside, _fade(brightest, *_DARK))
        np.minimum(usable, np.asarray(beside, np.float32), out=usable)
    return usable


def _fade(value: FloatArray, low: float, high: float) -> FloatArray:
    """1 up to ``low``, 0 from ``high``, linear between; in place."""
    value *= np.float32(-1.0 / (high - low))
    value += np.float32(high / (high - low))
    np.clip(value, 0.0, 1.0, out=value)
    return value


def _brighter(fill: FloatArray, clipped: FloatArray) -> FloatArray:
    """What ``fill`` (n, 3) adds to the reference's own values (n, 3) where these clip.

    A channel that does not clip is known: the fill is dimmed until it exceeds none of those, so
    that a flame stays orange.
    """
    unclipped_share = _fade(clipped.copy(), *_OWN)
    known = (clipped + np.float32(1e-6)) / np.maximum(fill * unclipped_share, np.float32(1e-6))
    dimmed = fill * np.minimum(known.min(axis=1, keepdims=True), 1.0)
    return np.asarray(np.maximum(dimmed - clipped, 0.0), dtype=np.float32)


def _to_rec709(planes: FloatArray, frame: Frame, shortest: FloatArray) -> FloatArray:
    """White balance and camera matrix for ``planes`` (3, h, w), clipped highlights kept neutral.

    Balancing raises a clipped pixel's channels by different factors, which would tint it. What
    clips even in the ``shortest`` frame is only known to be at least so bright: such a channel is
    raised to the pixel's brightest one.
    """
    balance = np.asarray(frame.white_balance, np.float32)
    if not np.all(balance == 1.0):
        planes = planes * balance[:, None, None]
        saturated = 1.0 - _fade(shortest.copy(), *_OWN)
        planes += saturated * (planes.max(axis=0) - planes)
    if not np.array_equal(frame.to_rec709, np.eye(3)):
        planes = np.tensordot(frame.to_rec709.astype(np.float32), planes, axes=1)
    return np.asarray(planes, dtype=np.float32)


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
