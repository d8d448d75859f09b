"""Mantiuk, Myszkowski and Seidel 2006, "A perceptual framework for contrast processing of high
dynamic range images": contrasts at all scales, scaled as the eye responds to them."""

from __future__ import annotations

import math

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.edge_aware import (
    Enlarged,
    guided_coefficients,
    log_luminance,
    reduced,
)
from hdrmerge.tonemap.scene import Statistics

_PIXELS = 3_000_000  # of the reduced picture, on which the equations are solved
_COARSEST = 3  # least pixels a side of the pyramid's smallest level
_RANGE = 2.3  # of the display, log10
_ENDS = (0.1, 99.9)  # percentiles that become black and white
_WINDOW, _LEAST = 2, 1e-5  # radius and variance of the guided enlargement
_TOLERANCE, _ITERATIONS = 1e-3, 50

# The contrast dW that is just noticed on top of a contrast W (Weber fractions): the fit of
# section 3.2 to Whittle's data, and below it the 1 % at which a contrast is noticed at all.
_THRESHOLD, _GAIN, _POWER, _OFFSET = 0.0082, 0.0928, 1.08, 0.0046
_STEPS = 130
_FULL = 106  # steps that equalisation counts as all, those of the reference implementation
# how well a contrast G is matched counts by 1 / threshold(G): section 3.4
_WEIGHT, _EXPONENT, _DETECTED = 0.038737, 0.537756, 0.001

Pyramid = list[tuple[FloatArray, FloatArray]]  # differences across and down, finest first


def mantiuk2006(
    picture: FloatArray, scene: Statistics, *, factor: float, equalize: float
) -> FloatArray:
    """Luminance (H, W) to display luminance.

    Differences G of log10 luminance between neighbours at every level of a pyramid become
    responses R of the eye, are multiplied by ``factor`` (contrast mapping, section 4.1), or where
    ``equalize`` is above 0 take its share by rank (contrast equalisation, 4.2), and become
    contrasts again; the picture is the one whose contrasts are nearest, by conjugate gradients
    (section 3.4). It is solved on three megapixels, and a larger picture follows it as a linear
    function of its own log luminance in every window of five pixels (guided filter).
    """
    if not picture.max(initial=0.0) > 0:
        return np.zeros_like(picture)
    logs = log_luminance(picture)
    small = reduced(logs, _PIXELS) * np.float32(1 / math.log(10.0))
    solved = _solve(small, factor, equalize)
    low, high = (float(v) for v in np.percentile(solved, _ENDS))
    scale = _RANGE / max(high - low, 1e-6) if high > low else 1.0
    shown = (solved - np.float32(high)) * np.float32(scale)
    gain = math.log10(scene.exposure)
    if small.shape == picture.shape:
        return np.asarray(np.power(np.float32(10), shown + np.float32(gain)))
    a, b = guided_coefficients(small, _WINDOW, _LEAST, shown)
    # from log10 to the natural logarithm, which the slope does not change
    slope = Enlarged(a, *picture.shape)
    offset = Enlarged((b + np.float32(gain)) * np.float32(math.log(10.0)), *picture.shape)

    def band(rows: slice) -> None:
        part = logs[rows]
        part *= slope[rows]
        part += offset[rows]
        np.exp(part, out=part)

    in_bands(picture.shape, band)
    return logs


def _solve(plane: FloatArray, factor: float, equalize: float) -> FloatArray:
    """The plane of log10 luminance with its contrasts mapped."""
    import cv2

    height, width = plane.shape
    levels = max(0, int(math.log2(max(1, min(height, width) / _COARSEST))))
    multiple = 1 << levels
    padded = cv2.copyMakeBorder(
        plane, 0, -height % multiple, 0, -width % multiple, cv2.BORDER_REPLICATE
    )
    contrasts = _contrasts(np.asarray(padded), levels)
    wanted = _equalized(contrasts, equalize) if equalize > 0 else _mapped(contrasts, factor)
    weights = [(_weight(across), _weight(down)) for across, down in wanted]
    goal = _gather([(w * g, v * h) for (w, v), (g, h) in zip(weights, wanted, strict=True)])
    result = _conjugate_gradients(goal, weights, padded * np.float32(factor))
    return result[:height, :width]


def _contrasts(plane: FloatArray, levels: int) -> Pyramid:
    """Differences of neighbours at every level; a level is the 2 x 2 average of the finer one."""
    import cv2

    pyramid = []
    for level in range(levels + 1):
        pyramid.append((np.diff(plane, axis=1), np.diff(plane, axis=0)))
        if level < levels:
            half = (plane.shape[1] // 2, plane.shape[0] // 2)
            plane = np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA))
    return pyramid


def _gather(pyramid: Pyramid) -> FloatArray:
    """The transpose of ``_contrasts``, with 4^k for level k so that all levels weigh alike."""
    import cv2

    total: FloatArray | None = None
    for across, down in reversed(pyramid):
        plane = np.zeros((across.shape[0], down.shape[1]), np.float32)
        plane[:, 1:] += across
        plane[:, :-1] -= across
        plane[1:] += down
        plane[:-1] -= down
        if total is not None:
            # 4^k times the transpose of averaging: repeating
            size = (plane.shape[1], plane.shape[0])
            plane += cv2.resize(total, size, interpolation=cv2.INTER_NEAREST)
        total = plane
    assert total is not None
    return total


def _weight(contrast: FloatArray) -> FloatArray:
    size = np.maximum(np.abs(contrast), np.float32(_DETECTED))
    return np.asarray(np.float32(1 / _WEIGHT) * np.power(size, np.float32(-_EXPONENT)))


def _transducer() -> tuple[FloatArray, FloatArray]:
    """Log10 contrasts, and the eye's response to them: one more for each just noticed step."""
    weber = [0.0]
    for _ in range(_STEPS):
        noticed = _GAIN * weber[-1] ** _POWER + _OFFSET
        weber.append(weber[-1] + math.hypot(noticed, _THRESHOLD))
    return np.log10(1 + np.array(weber, np.float32)), np.arange(_STEPS + 1, dtype=np.float32)


def _mapped(contrasts: Pyramid, factor: float) -> Pyramid:
    """Responses multiplied by ``factor``, as contrasts."""
    known, response = _transducer()
    # one table from contrast to contrast: denser where contrasts are small and many
    entry = np.linspace(0, 1, 4096, dtype=np.float32) ** 2 * known[-1]
    table = np.interp(factor * np.interp(entry, known, response), response, known)
    table = table.astype(np.float32)

    def change(contrast: FloatArray) -> FloatArray:
        place = np.sqrt(np.abs(contrast) / known[-1]) * np.float32(entry.size - 1)
        low = np.minimum(place.astype(np.intp), entry.size - 2)
        size = table[low] + (table[low + 1] - table[low]) * (place - low)
        return np.asarray(np.copysign(size, contrast), np.float32)

    return [(change(across), change(down)) for across, down in contrasts]


def _equalized(contrasts: Pyramid, factor: float) -> Pyramid:
    """Responses of ``factor`` by the share of contrasts that are smaller, as contrasts."""
    known, response = _transducer()

    def sizes(level: tuple[FloatArray, FloatArray]) -> FloatArray:
        across, down = (np.interp(np.abs(g), known, response) for g in level)
        across, down = np.pad(across, ((0, 0), (0, 1))), np.pad(down, ((0, 1), (0, 0)))
        return np.hypot(across, down).astype(np.float32)

    every = [sizes(level) for level in contrasts]
    ranked = np.sort(np.concatenate([size.ravel() for size in every]))

    def change(contrast: FloatArray, size: FloatArray) -> FloatArray:
        share = np.searchsorted(ranked, size) / ranked.size
        wanted = np.interp(np.abs(contrast), known, response) * (factor * _FULL) * share
        wanted /= np.maximum(size, 1e-6)
        return np.copysign(np.interp(wanted, response, known), contrast).astype(np.float32)

    return [
        (change(across, size[:, :-1]), change(down, size[:-1]))
        for (across, down), size in zip(contrasts, every, strict=True)
    ]


def _conjugate_gradients(goal: FloatArray, weights: Pyramid, start: FloatArray) -> FloatArray:
    """The plane whose weighted contrasts are nearest to those gathered in ``goal``."""
    levels = len(weights) - 1

    def gathered(plane: FloatArray) -> FloatArray:
        contrasts = _contrasts(plane, levels)
        for (across, down), (wide, tall) in zip(contrasts, weights, strict=True):
            across *= wide
            down *= tall
        return _gather(contrasts)

    def dot(a: FloatArray, b: FloatArray) -> float:
        return float(np.vdot(a, b))

    inverse = np.float32(1) / _diagonal(weights)
    plane = start
    residual = goal - gathered(plane)
    limit = _TOLERANCE**2 * max(dot(goal, inverse * goal), 1e-30)
    scaled = inverse * residual
    direction = scaled.copy()
    size = dot(residual, scaled)
    for _ in range(_ITERATIONS):
        if size <= limit:
            break
        image = gathered(direction)
        length = size / max(dot(direction, image), 1e-30)
        plane += np.float32(length) * direction
        residual -= np.float32(length) * image
        scaled = inverse * residual
        before, size = size, dot(residual, scaled)
        direction *= np.float32(size / before)
        direction += scaled
    return plane


def _diagonal(weights: Pyramid) -> FloatArray:
    """Of the equations: the preconditioner."""
    import cv2

    total: FloatArray | None = None
    for across, down in reversed(weights):
        plane = np.zeros((across.shape[0], down.shape[1]), np.float32)
        plane[:, 1:] += across
        plane[:, :-1] += across
        plane[1:] += down
        plane[:-1] += down
        if total is not None:
            size = (plane.shape[1], plane.shape[0])
            plane += cv2.resize(total, size, interpolation=cv2.INTER_NEAREST) / np.float32(4)
        total = plane
    assert total is not None
    return np.maximum(total, np.float32(1e-6))
