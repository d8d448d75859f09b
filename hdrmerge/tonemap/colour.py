"""Colour carried from the scene to the display: ratios, saturation corrections, the gamut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hdrmerge.config import Colour
from hdrmerge.frames import FloatArray, thrice

REC709_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
# Rec.709 to the cones' responses under D65, and these, compressed, to IPT (Ebner, Fairchild 1998)
_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
)
_CONES = [[0.4002, 0.7075, -0.0807], [-0.2280, 1.1500, 0.0612], [0.0, 0.0, 0.9184]]
_LMS = np.array(_CONES, np.float32) @ _XYZ
_IPT = np.array([[0.4, 0.4, 0.2], [4.455, -4.851, 0.396], [0.8056, 0.3572, -1.1628]], np.float32)
_LMS_INVERSE, _IPT_INVERSE = np.linalg.inv(_LMS), np.linalg.inv(_IPT)
_IPT_POWER = 0.43
_TINY = np.float32(1e-20)
_BINS_PER_STOP = 4

# (rgb, luminance, shown) -> linear display RGB, not yet within the gamut
Carry = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


def carrier(
    colour: Colour, saturation: float, luminance: FloatArray, shown: FloatArray, maximum: float
) -> Carry:
    """How colour is carried.

    ``luminance`` and ``shown``: samples of what the operator did; ``maximum``: the scene's.
    """
    if colour == "pouli2013":
        return lambda rgb, lum, out: _pouli2013(rgb, lum, out, saturation, maximum)
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
    ratio = np.asarray(shown / np.maximum(luminance, _TINY), np.float32)
    return saturate(times(rgb, ratio), shown, saturation)


def times(rgb: FloatArray, factor: FloatArray) -> FloatArray:
    """(H, W, 3) times (H, W): four times as fast as broadcasting over so short an axis."""
    import cv2

    return np.asarray(cv2.multiply(rgb, thrice(factor)), np.float32).reshape(rgb.shape)


def saturate(linear: FloatArray, shown: FloatArray, saturation: float) -> FloatArray:
    """Distance from the grey of luminance ``shown``, multiplied."""
    if saturation == 1:
        return linear
    grey = shown[..., None]
    return np.asarray(np.maximum(grey + np.float32(saturation) * (linear - grey), np.float32(0)))


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
    exponents = saturation_exponent(np.gradient(curve, centre))
    return centre.astype(np.float32), exponents.astype(np.float32)


def saturation_exponent(slope: NDArray[np.float64]) -> NDArray[np.float64]:
    """s by the slope of a tone curve in log-log terms: Mantiuk et al. 2009, eq. 3 for eq. 1."""
    contrast = np.clip(slope, 0.0, 2.0) ** 0.9925
    return np.asarray((1 + 1.6774) * contrast / (1 + 1.6774 * contrast))


def _pouli2013(
    rgb: FloatArray,
    luminance: FloatArray,
    shown: FloatArray,
    saturation: float,
    maximum: float,
) -> FloatArray:
    """Pouli et al. 2013: the scene's hue, and its saturation C / sqrt(C^2 + I^2), in IPT.

    With Co, Io of the scene (its largest luminance being 1) and It of what is shown, chroma
    becomes Co sqrt(Co^2 + It^2) / sqrt(Co^2 + Io^2): eq. 5 to 8, after scaling all three channels
    alike, which in IPT scales chroma and lightness alike.
    """
    lms = np.power(np.maximum(rgb / np.float32(maximum) @ _LMS.T, 0), np.float32(_IPT_POWER))
    ipt = lms @ _IPT.T
    relative = shown / np.maximum(luminance / np.float32(maximum), _TINY)
    lightness = ipt[..., 0] * np.power(relative, np.float32(_IPT_POWER))
    chroma = ipt[..., 1] ** 2 + ipt[..., 2] ** 2
    ratio = (chroma + lightness**2) / np.maximum(chroma + ipt[..., 0] ** 2, _TINY)
    ipt[..., 0] = lightness
    ipt[..., 1:] *= (np.float32(saturation) * np.sqrt(ratio))[..., None]
    lms = np.power(np.maximum(ipt @ _IPT_INVERSE.T, 0), np.float32(1 / _IPT_POWER))
    return np.asarray(np.maximum(lms @ _LMS_INVERSE.T, 0), dtype=np.float32)


def fit_gamut(linear: FloatArray, shown: FloatArray) -> FloatArray:
    """``linear`` (H, W, 3), contiguous, of luminance ``shown`` (H, W), into [0, 1], in place.

    What would exceed white in one channel moves towards the grey of its luminance just as far as
    is needed: hue and luminance hold and saturation gives way, where clipping would turn a red
    lamp orange and a blue sky cyan.
    """
    if not linear.max(initial=0.0) > 1.0:
        return np.clip(linear, np.float32(0.0), np.float32(1.0), out=linear)
    # a channel at a time: numpy reduces over a short last axis ten times slower
    peak = np.maximum(np.maximum(linear[..., 0], linear[..., 1]), linear[..., 2]).ravel()
    over = np.flatnonzero(peak > 1.0)
    if over.size:
        flat = linear.reshape(-1, 3)
        # what is brighter than white as a whole is white
        grey = np.minimum(shown.ravel()[over], np.float32(1.0))
        keep = (1.0 - grey) / np.maximum(peak[over] - grey, _TINY)
        for channel in range(3):
            flat[over, channel] = grey + (flat[over, channel] - grey) * keep
    return np.clip(linear, np.float32(0.0), np.float32(1.0), out=linear)
