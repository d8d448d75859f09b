"""Mantiuk, Daly and Kerofsky 2008, "Display adaptive tone mapping".

The tone curve whose contrasts, as seen on the display, are nearest to the scene's as seen by an eye
adapted to daylight. How often a contrast occurs at a luminance and in a band of spatial
frequencies is counted first; the curve then solves a quadratic problem of its slopes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.colour import REC709_LUMINANCE, saturation_exponent
from hdrmerge.tonemap.quadratic import minimise
from hdrmerge.tonemap.scene import Curve, Statistics
from hdrmerge.tonemap.table import look_up
from hdrmerge.tonemap.vision import sensitivity, transducer

Array = NDArray[np.float64]

_STEP = 0.1  # of log10 luminance and of contrast
_LOWEST, _NODES = -8.0, 161  # log10 luminance
_CONTRASTS = 7  # steps of contrast to either side that are counted
_VISIBLE = 0.0043  # log10: smaller contrasts are not seen
_KERNEL = np.array([0.05, 0.25, 0.4, 0.25, 0.05], np.float32)
_ENOUGH = 1_000_000  # pixels that a larger picture is thinned out to from band to band
_SCENE = 1000.0  # cd/m2 that the eye in the scene is adapted to


def mantiuk2008(
    scene: Statistics,
    *,
    peak: float,
    black: float,
    ambient: float,
    reflectivity: float,
    resolution: float,
    contrast: float,
    white: float | None,
) -> Curve:
    """The tone curve for a display, and what the display must add to its black.

    ``peak``, ``black``: the display's, cd/m2. ``ambient``: light on it, lux, of which it reflects
    ``reflectivity``. ``resolution``: pixels a degree. ``contrast``: enhances. ``white``: luminance
    that becomes white (None: free).
    """
    reflected = reflectivity / np.pi * ambient
    darkest, brightest = black + reflected, peak + reflected
    frequencies = _frequencies(resolution)
    counts = _count(scene.luminance(), len(frequencies))
    levels = _solve(counts, frequencies, np.log10([darkest, brightest]), contrast, white)
    shown = (10.0**levels).astype(np.float32)
    # of Mantiuk et al. 2009, from the slope of the curve
    exponents = saturation_exponent(np.append(np.diff(levels) / _STEP, 1.0)).astype(np.float32)
    scale, base = np.float32(1 / (peak - black)), np.float32(darkest / (peak - black))

    def curve(rgb: FloatArray) -> FloatArray:
        luminance = np.maximum(rgb @ REC709_LUMINANCE, np.float32(10.0**_LOWEST))
        place = (np.log10(luminance) - np.float32(_LOWEST)) * np.float32(1 / _STEP)
        exponent = look_up(exponents, place.copy())
        light = look_up(shown, place) * scale
        result = np.maximum(rgb / luminance[..., None], np.float32(1e-8))
        np.power(result, exponent[..., None], out=result)
        result *= light[..., None]
        result -= base  # what the display shows at code 0
        return np.asarray(np.clip(result, 0, 1, out=result))

    return curve


def _frequencies(resolution: float) -> list[float]:
    """Cycles a degree of the bands, from the finest down to the first below 3."""
    bands = [resolution / 2]
    while bands[-1] > 3 and len(bands) < 8:
        bands.append(bands[-1] / 2)
    return bands


def _count(luminance: FloatArray, bands: int) -> Array:
    """How often each contrast occurs: (bands, nodes of luminance, 15 contrasts), section 4.1."""
    import cv2

    lowest = max(float(luminance.min(initial=1e8, where=luminance > 0)), 10.0**_LOWEST)
    high = np.log10(np.clip(luminance, lowest, 1e8))
    width = 2 * _CONTRASTS + 1
    counts = np.zeros((bands, _NODES, width))
    spread, share = 1, 1  # of the kernel, in pixels; pixels that one of ``high`` stands for
    for band in range(bands):
        kernel = np.zeros(4 * spread + 1, np.float32)
        kernel[::spread] = _KERNEL
        low = cv2.sepFilter2D(high, -1, kernel, kernel)
        for top in range(0, len(high), 256):
            rows = slice(top, top + 256)
            node = np.rint((low[rows] - _LOWEST) / _STEP).astype(np.intp)
            difference = high[rows] - low[rows]
            column = np.rint(difference / _STEP).astype(np.intp)
            seen = (np.abs(difference) > _VISIBLE) & (column == 0)
            column += np.where(seen, np.where(difference > 0, 1, -1), 0) + _CONTRASTS
            inside = (column >= 0) & (column < width) & (node >= 0) & (node < _NODES)
            cell = (node * width + column)[inside]
            counts[band] += np.bincount(cell, minlength=_NODES * width).reshape(_NODES, width)
        counts[band] *= share
        # a flat field still has to lie somewhere
        flat = counts[band, :, _CONTRASTS] > 0
        counts[band, flat, _CONTRASTS - 1] += 1
        counts[band, flat, _CONTRASTS + 1] += 1
        if low.size > _ENOUGH:
            high, share = np.ascontiguousarray(low[::2, ::2]), share * 4
        else:
            high, spread = low, spread * 2
    return counts


@dataclass(frozen=True, slots=True)
class _Contrasts:
    """Contrasts that the curve should keep, an entry each.

    From node ``low`` up to node ``high``, in the ``band`` of spatial frequencies, around the node
    ``around``, as important as ``weight``; ``strength`` is what it should appear as.
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    band: NDArray[np.intp]
    around: NDArray[np.intp]
    weight: Array
    strength: Array

    def add(self, low: int, high: int, band: int, strength: float) -> _Contrasts:
        """One more, a tenth as important as all counted ones."""
        return _Contrasts(
            np.append(self.low, low),
            np.append(self.high, high),
            np.append(self.band, band),
            np.append(self.around, high),
            np.append(self.weight, 0.1 * self.weight.sum()),
            np.append(self.strength, strength),
        )


def _contrasts(counts: Array, seen: Array, enhance: float) -> _Contrasts:
    """What was counted, and a contrast across every range of luminances that does not occur.

    ``seen``: contrast sensitivity of the bands in the scene.
    """
    band, around, column = np.nonzero(counts)
    offset = column - _CONTRASTS
    inside = (offset != 0) & (around + offset >= 0) & (around + offset < _NODES)
    band, around, column, offset = (a[inside] for a in (band, around, column, offset))
    low, high = np.minimum(around, around + offset), np.maximum(around, around + offset)
    strength = transducer((high - low) * _STEP * enhance, seen[band])
    found = _Contrasts(low, high, band, around, counts[band, around, column], strength)
    if len(low) == 0:
        return found
    covered = np.zeros(_NODES + 1, np.intp)
    np.add.at(covered, low, 1)
    np.add.at(covered, high, -1)
    bare = np.cumsum(covered)[low.min() : high.max()] == 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bare, [False]]))) + low.min()
    for start, stop in edges.reshape(-1, 2):
        across = np.array((stop - start) * _STEP * enhance)
        found = found.add(start, stop, len(seen) - 1, float(transducer(across, seen[-1])))
    return found


def _solve(
    counts: Array, frequencies: list[float], display: Array, enhance: float, white: float | None
) -> Array:
    """log10 luminance of the display at the nodes, eq. 8 to 12.

    ``display``: log10 of its darkest and brightest. The unknowns are the steps of the curve from
    node to node; the transducer makes the problem nonlinear, so that it is solved again with the
    gains of the last curve until that stays (section 4.3).
    """
    nodes = np.linspace(_LOWEST, -_LOWEST, _NODES)
    wanted = _contrasts(counts, np.array([sensitivity(f, _SCENE) for f in frequencies]), enhance)
    if len(wanted.low) == 0:
        return np.full(_NODES, display[1])
    if white is not None:
        at = int(np.clip((np.log10(white) - _LOWEST) / _STEP, 0, _NODES - 2))
        wanted = wanted.add(at, max(at + 1, int(wanted.high.max())), 0, 0.0)
    first, last = int(wanted.low.min()), int(wanted.high.max())
    between = np.arange(first, last)
    spans = (wanted.low[:, None] <= between) & (between < wanted.high[:, None])
    spans = spans.astype(np.float64)
    range_of = float(display[1] - display[0])
    grid = np.stack([sensitivity(f, np.power(10.0, nodes)) for f in frequencies])

    def levels(steps: Array) -> Array:
        """The curve at the nodes; what the scene does not use of the display is left at black."""
        inner = display[1] - steps.sum() + np.append(0.0, np.cumsum(steps))
        return np.asarray(np.interp(np.arange(_NODES), np.arange(first, last + 1), inner))

    steps = np.full(last - first, range_of / (last - first))
    for _ in range(50):
        place = np.clip((levels(steps)[wanted.around] - _LOWEST) / _STEP, 0, _NODES - 1.001)
        node, part = place.astype(np.intp), place % 1
        seen = grid[wanted.band, node] * (1 - part) + grid[wanted.band, node + 1] * part
        shown = spans @ steps
        gain = transducer(shown, seen) / np.where(shown < 1e-4, 1.0, shown)
        scaled = spans * gain[:, None]
        weighted = scaled * wanted.weight[:, None]
        matrix = scaled.T @ weighted
        # steps that only appear together share alike
        matrix[np.diag_indices(len(matrix))] += max(1e-10 * matrix.max(), 1e-12)
        before = steps
        steps = minimise(matrix, -weighted.T @ wanted.strength, range_of)
        if np.abs(steps - before).max() <= _STEP / 10:
            break
    return levels(steps)
