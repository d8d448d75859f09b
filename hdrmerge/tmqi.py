"""TMQI: how well a picture shows an HDR scene (Yeganeh and Wang 2013).

H. Yeganeh and Z. Wang, "Objective quality assessment of tone-mapped images", IEEE Transactions on
Image Processing 22(2), with the constants and the borders of the authors' program. It judges
luminance only, and is no judge of colour, halos, or noise: look at the pictures as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import UsageError
from hdrmerge.frames import FloatArray

Plane = NDArray[np.float64]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_IMPORTANCE, _ALPHA, _BETA = 0.8012, 0.3046, 0.7088  # eq. 14
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first; eq. 9
_FREQUENCIES = (16, 8, 4, 2, 1)  # cycles per degree that a scale holds
_C1, _C2 = 0.01, 10.0  # eq. 3
_WINDOW, _SIGMA = 11, 1.5
_BRIGHTNESS, _SPREAD = 115.94, 27.99  # of natural pictures' mean codes; eq. 10
_CONTRAST_A, _CONTRAST_B, _CONTRAST_MAX = 4.4, 10.1, 64.29  # of their mean deviation; eq. 11
SMALLEST = 161  # pixels a side that leave a window's 11 at the coarsest of five scales


@dataclass(frozen=True, slots=True)
class Tmqi:
    """All in [0, 1], 1 best: overall ``quality``, structural ``fidelity``, and ``naturalness``.

    ``scales``: the fidelity at each scale, finest first.
    """

    quality: float
    fidelity: float
    naturalness: float
    scales: tuple[float, ...]


def tmqi(radiance: FloatArray, codes: NDArray[Any]) -> Tmqi:
    """Judge a picture of a scene: linear ``radiance`` and ``codes``, both (H, W, 3) or (H, W).

    ``codes`` are those a display is given (sRGB), uint8, uint16, or floats in [0, 255]. The scale
    of the radiance does not matter; what is not finite or negative counts as black. Raises
    UsageError when the sizes differ, or a side is shorter than 161 pixels.
    """
    if radiance.shape[:2] != codes.shape[:2]:
        raise UsageError(
            f"The picture is {codes.shape[1]} x {codes.shape[0]}, and the HDR image "
            f"{radiance.shape[1]} x {radiance.shape[0]} pixels.",
            "TMQI compares pictures of the same size.",
        )
    if min(codes.shape[:2]) < SMALLEST:
        raise UsageError(f"TMQI needs at least {SMALLEST} x {SMALLEST} pixels.")
    shown = _luminance(codes) / (257.0 if codes.dtype == np.uint16 else 1.0)
    scene = _luminance(np.maximum(np.nan_to_num(radiance, posinf=0.0, neginf=0.0), 0.0))
    low, high = float(scene.min()), float(scene.max())
    # the program rounds the factor: it is part of the published figures
    factor = float(np.round((2.0**32 - 1) / (high - low))) if high > low else 0.0
    scales = _fidelity((scene - low) * factor, shown)
    fidelity = math.prod(max(0.0, s) ** w for s, w in zip(scales, _WEIGHTS, strict=True))
    naturalness = _naturalness(shown)
    quality = _IMPORTANCE * fidelity**_ALPHA + (1 - _IMPORTANCE) * naturalness**_BETA
    return Tmqi(quality, fidelity, naturalness, tuple(scales))


def _luminance(image: NDArray[Any]) -> Plane:
    plane = image.astype(np.float64)
    return plane if plane.ndim == 2 else np.asarray(plane @ _LUMINANCE)


def _fidelity(scene: Plane, shown: Plane) -> list[float]:
    """Mean of the structural fidelity map at each scale, eq. 3 to 8."""
    scales = []
    for frequency in _FREQUENCIES:
        scales.append(float(_map(scene, shown, frequency).mean()))
        scene, shown = _halved(scene), _halved(shown)
    return scales


def _map(scene: Plane, shown: Plane, frequency: float) -> Plane:
    """Local structural fidelity (eq. 3): is the contrast visible in both, and of the same form?"""
    # Mannos and Sakrison 1974 (eq. 6) give the contrast that is seen half of the time (eq. 7, 8)
    f = 0.114 * frequency
    sensitivity = 100 * 2.6 * (0.0192 + f) * math.exp(-(f**1.1))
    threshold = 128 / (1.4 * sensitivity)
    mean_a, mean_b = _smooth(scene), _smooth(shown)
    sigma_a = np.sqrt(np.maximum(0.0, _smooth(scene * scene) - mean_a**2))
    sigma_b = np.sqrt(np.maximum(0.0, _smooth(shown * shown) - mean_b**2))
    common = _smooth(scene * shown) - mean_a * mean_b
    seen_a, seen_b = _visible(sigma_a, threshold), _visible(sigma_b, threshold)
    visible = (2 * seen_a * seen_b + _C1) / (seen_a**2 + seen_b**2 + _C1)
    return np.asarray(visible * (common + _C2) / (sigma_a * sigma_b + _C2))


def _smooth(plane: Plane) -> Plane:
    """Gaussian means of 11 x 11 pixels, sigma 1.5, where the window lies inside."""
    import cv2

    edge = _WINDOW // 2
    return np.asarray(cv2.GaussianBlur(plane, (_WINDOW, _WINDOW), _SIGMA))[edge:-edge, edge:-edge]


def _halved(plane: Plane) -> Plane:
    """Means of 2 x 2 pixels; an odd last row or column is repeated."""
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="symmetric")
    return np.asarray((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)


def _visible(sigma: Plane, threshold: float) -> Plane:
    """Normal distribution function of mean ``threshold`` and a third of it as deviation, eq. 5."""
    z = (sigma - threshold) * (3 / threshold)
    # math.erf is exact and slow; between knots 1/500 apart, a line is right to 1e-6
    knots = np.linspace(-6, 6, 6001)
    table = np.array([0.5 * (1 + math.erf(k / math.sqrt(2))) for k in knots])
    return np.asarray(np.interp(z, knots, table))


def _naturalness(shown: Plane) -> float:
    """Likelihood of the picture's mean and contrast among natural ones, eq. 10 to 13."""
    height, width = shown.shape
    size = _WINDOW
    padded = np.pad(shown, ((0, -height % size), (0, -width % size)))
    rows, columns = padded.shape[0] // size, padded.shape[1] // size
    blocks = padded.reshape(rows, size, columns, size).std(axis=(1, 3), ddof=1)
    # a block at the border is filled with black and counts by its pixels inside the picture
    tall = np.minimum(size, height - size * np.arange(rows))
    wide = np.minimum(size, width - size * np.arange(columns))
    contrast = float(tall @ blocks @ wide) / (height * width) / _CONTRAST_MAX
    brightness = math.exp(-0.5 * ((float(shown.mean()) - _BRIGHTNESS) / _SPREAD) ** 2)
    return (
        brightness
        * _beta(contrast)
        / _beta(
            (_CONTRAST_A - 1) / (_CONTRAST_A + _CONTRAST_B - 2)  # the mode
        )
    )


def _beta(x: float) -> float:
    """The beta density of the contrast, up to its constant factor."""
    if not 0 < x < 1:
        return 0.0
    return float(x ** (_CONTRAST_A - 1) * (1 - x) ** (_CONTRAST_B - 1))
