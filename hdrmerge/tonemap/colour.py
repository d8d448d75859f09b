"""Colour carried from the scene to the display: ratios, saturation corrections, the gamut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hdrmerge.config import Colour
from hdrmerge.frames import FloatArray

REC709_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_TINY = np.float32(1e-20)
_BINS_PER_STOP = 4

# (rgb, luminance, shown) -> linear display RGB, not yet within the gamut
Carry = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


def carrier(colour: Colour, saturation: float, luminance: FloatArray, shown: FloatArray) -> Carry:
    """How colour is carried. ``luminance`` and ``shown``: samples of what the operator did."""
    if colour == "pouli2013":
        return lambda rgb, lum, out: _pouli2013(rgb, lum, out, saturation)
    if colour == "mantiuk2009":
        stops, exponents = _exponents(luminance, shown)

        def mantiuk2009(rgb: FloatArray, lum: FloatArray, out: FloatArray) -> FloatArray:
            power = np.interp(np.log2(np.maximum(lum, _TINY)), stops, exponents * saturation)
            return _power(rgb, lum, out, power.astype(np.float32)[..., None])

        return mantiuk2009
    if colour == "schlick1995" and saturation != 1:
        return lambda rgb, lum, out: _power(rgb, lum, out, np.float32(saturation))
    return lambda rgb, lum, out: _ratio(rgb, lum, out, saturation)


def _ratio(
    rgb: FloatArray, luminance: FloatArray, shown: FloatArray, saturation: float
) -> FloatArray:
    """All three channels scaled alike; then Mantiuk et al. 2009, eq. 2: luminance holds."""
    linear: FloatArray = rgb * (shown / np.maximum(luminance, _TINY))[..., None]
    if saturation != 1:
        grey = shown[..., None]
        linear = np.maximum(grey + np.float32(saturation) * (linear - grey), np.float32(0))
    return linear


def _power(
    rgb: FloatArray, luminance: FloatArray, shown: FloatArray, exponent: FloatArray | np.float32
) -> FloatArray:
    """(C / L)^s Ld: Schlick 1995; Mantiuk et al. 2009, eq. 1."""
    relative = rgb / np.maximum(luminance, _TINY)[..., None]
    result: FloatArray = np.power(relative, exponent) * shown[..., None]
    return result


def _exponents(luminance: FloatArray, shown: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log2 luminances, and s there: Mantiuk et al. 2009, eq. 3 with the constants of eq. 1.

    The contrast c is the slope of the tone curve in log-log terms, the tone curve being the mean
    of what the operator made of a luminance.
    """
    both = (luminance > 0) & (shown > 0)
    if np.count_nonzero(both) < 2:
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    stops = np.log2(luminance[both], dtype=np.float64)
    bins = np.floor((stops - stops.min()) * _BINS_PER_STOP).astype(np.intp)
    count = np.bincount(bins)
    filled = count > 0
    if np.count_nonzero(filled) < 2:
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    centre = np.bincount(bins, stops)[filled] / count[filled]
    curve = np.bincount(bins, np.log2(shown[both], dtype=np.float64))[filled] / count[filled]
    contrast = np.clip(np.gradient(curve, centre), 0.0, 2.0) ** 0.9925
    exponents = (1 + 1.6774) * contrast / (1 + 1.6774 * contrast)
    return centre.astype(np.float32), exponents.astype(np.float32)


def _pouli2013(
    rgb: FloatArray, luminance: FloatArray, shown: FloatArray, saturation: float
) -> FloatArray:
    """Chroma and hue of the scene at the lightness of the display: Pouli et al. 2013."""
    return _ratio(rgb, luminance, shown, saturation)


def fit_gamut(linear: FloatArray, shown: FloatArray) -> FloatArray:
    """``linear`` (H, W, 3) of luminance ``shown`` (H, W), brought into [0, 1], in place.

    What would exceed white in one channel moves towards the grey of its luminance just as far as
    is needed: hue and luminance hold and saturation gives way, where clipping would turn a red
    lamp orange and a blue sky cyan.
    """
    # three planes at a time: numpy reduces over a short last axis ten times slower
    peak = np.maximum(np.maximum(linear[..., 0], linear[..., 1]), linear[..., 2])
    over = peak > 1.0
    if np.any(over):
        target = np.minimum(shown[over], np.float32(1.0))
        # what is brighter than white as a whole is white
        keep = np.maximum(1.0 - target, 0) / np.maximum(peak[over] - target, _TINY)
        grey = target[:, None]
        linear[over] = grey + (linear[over] - grey) * keep[:, None]
    return np.clip(linear, np.float32(0.0), np.float32(1.0), out=linear)
