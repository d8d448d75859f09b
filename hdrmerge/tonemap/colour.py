"""Colour carried from the scene to the display: ratios, saturation corrections, the gamut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hdrmerge.config import Colour
from hdrmerge.frames import FloatArray

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
    colour: Colour,
    saturation: float,
    samples: Callable[[], tuple[FloatArray, FloatArray]],
    maximum: float,
) -> Carry | None:
    """How colour is carried; None: by ``carry_alike``.

    ``samples``: luminances, and what the operator made of them; ``maximum``: the scene's.
    """
    if colour == "pouli2013":
        return lambda rgb, lum, out: _pouli2013(rgb, lum, out, saturation, maximum)
    if colour == "mantiuk2009":
        stops, exponents = _exponents(*samples())

        def mantiuk2009(rgb: FloatArray, lum: FloatArray, out: FloatArray) -> FloatArray:
            power = np.interp(np.log2(np.maximum(lum, _TINY)), stops, exponents * saturation)
            return _power(rgb, lum, out, power.astype(np.float32)[..., None])

        return mantiuk2009
    if colour == "schlick1995" and saturation != 1:
        return lambda rgb, lum, out: _power(rgb, lum, out, np.float32(saturation))
    return None


def carry_alike(
    rgb: FloatArray, luminance: FloatArray, shown: FloatArray, saturation: float = 1.0
) -> FloatArray:
    """``rgb`` (H, W, 3) of ``luminance`` (H, W) scaled to that of ``shown``, in place, in [0, 1].

    All three channels are scaled alike; then ``saturation`` multiplies the distance from the grey
    of that luminance (Mantiuk et al. 2009, eq. 2). What would exceed white in one channel moves
    towards the same grey just as far as is needed: hue and luminance hold and saturation gives
    way, where clipping would turn a red lamp orange and a blue sky cyan. Arrays are contiguous.
    """
    from hdrmerge.tonemap.display_loops import carry_alike as loop

    loop(rgb.reshape(-1), luminance.reshape(-1), shown.reshape(-1), np.float32(saturation))
    return rgb


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
