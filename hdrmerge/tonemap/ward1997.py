"""Ward Larson, Rushmeier and Piatko 1997, "A visibility matching tone reproduction operator"."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.scene import Curve, Statistics
from hdrmerge.tonemap.table import look_up
from hdrmerge.tonemap.vision import Array, threshold

_BINS = 100
_TOLERANCE = 0.025  # of the samples, that may be left to trim


def ward1997(
    scene: Statistics,
    *,
    peak: float,
    black: float,
    view: float,
    luminance: float,
    sensitivity: float,
) -> Curve:
    """Histogram adjustment: equal shares of the display for equal shares of the scene, limited.

    Display brightness follows the cumulative histogram of log luminance (eq. 4), of averages over
    a degree of the ``view``, after the histogram was trimmed so that contrast is nowhere
    exaggerated (eq. 5; with ``sensitivity`` 1 beyond what the eye would see in the scene, eq. 7,
    for which ``luminance`` is cd/m2 of the map's 1). ``peak`` and ``black``: the display, cd/m2.
    """
    fovea = _average(scene.luminance(), view)
    low, high = float(max(fovea.min(), scene.maximum * 1e-9)), float(fovea.max())
    span = np.log(high / low)
    display = np.log(peak / black)
    if span < 1e-6:
        return _linear(scene.maximum)
    counts = np.histogram(np.log(np.maximum(fovea, low) / low), _BINS, (0.0, span))[0]
    centres = luminance * low * np.exp((np.arange(_BINS) + 0.5) * span / _BINS)
    trimmed = _trim(counts.astype(np.float64), span, display, black, centres, sensitivity > 0)
    if trimmed is None:
        return _linear(scene.maximum)
    share = np.concatenate([[0.0], np.cumsum(trimmed)]) / np.sum(trimmed)
    # as fine as the display's codes need
    fine = np.linspace(0.0, 1.0, 4096)
    share = np.interp(fine, np.linspace(0.0, 1.0, _BINS + 1), share)
    shown = ((np.exp(display * share) - 1) / (peak / black - 1)).astype(np.float32)
    scale = np.float32(4095 / span)

    def curve(luminance: FloatArray) -> FloatArray:
        logs = np.log(np.maximum(luminance, np.float32(low)) * np.float32(1 / low))
        logs *= scale
        return look_up(shown, logs)

    return curve


def _trim(
    counts: Array,
    span: float,
    display: float,
    black: float,
    centres: Array,
    sensitivity: bool,
) -> Array | None:
    """The histogram under its ceilings; None where the scene needs no compression."""
    tolerance = _TOLERANCE * counts.sum()
    step = span / len(counts)
    while True:
        total = counts.sum()
        if total < tolerance:
            return None
        ceiling = np.full(len(counts), total * step / display)
        if sensitivity:
            share = np.cumsum(counts) / total
            shown = black * np.exp(display * share)
            slope = threshold(shown) / threshold(centres) * centres / shown
            ceiling *= np.minimum(slope, 1.0)
        trimmings = float(np.maximum(counts - ceiling, 0).sum())
        counts = np.minimum(counts, ceiling)
        if trimmings <= tolerance:
            return counts


def _linear(white: float) -> Curve:
    def curve(luminance: FloatArray) -> FloatArray:
        return luminance * np.float32(1 / white)

    return curve


def _average(luminance: FloatArray, view: float) -> FloatArray:
    """Averages over a degree, the picture's longer side being ``view`` degrees."""
    import cv2

    height, width = luminance.shape
    scale = min(1.0, view / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(luminance, size, interpolation=cv2.INTER_AREA))
