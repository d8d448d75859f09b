"""What the refiner is shown of a merge, and what its answer means.

Everything is in standard deviations of the reference's own noise, so that it is the same problem
for every camera.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from hdrmerge.frames import FloatArray, brightest

Array = TypeVar("Array", bound=Any)

_SCALES = (3, 5, 13)  # pixels over which detail is averaged, one after the other
_LEVEL = 17  # pixels over which the level is averaged
_NOISIER = (1.15, 1.5)  # times the noise of all frames: from here on refined, and wholly
_CLIPS = (0.85, 0.95)  # of the reference's saturation: above, its noise is not known
_STEEPEST = 1e-2  # least share of the noise curve's term: keeps the logarithm well-conditioned


def reference_noise(radiance: FloatArray, read: float, gain: float, curve: float) -> FloatArray:
    """Standard deviation of the reference where it sees ``radiance`` (any shape)."""
    x = np.clip(radiance, 0.0, 1.0)
    variance = (x * np.float32(curve) + np.float32(gain)) * x + np.float32(read)
    return np.asarray(np.sqrt(variance), dtype=np.float32)


def stabilised(radiance: FloatArray, read: float, gain: float, curve: float) -> FloatArray:
    """Radiance on a scale on which the reference's noise is 1: the integral of 1 / sigma.

    For sigma^2 = read + gain x + curve x^2 a logarithm (generalises Anscombe 1948).
    """
    c = max(curve, _STEEPEST * gain, 1e-9)
    root = c**0.5
    x = np.clip(radiance, 0.0, 1.0)
    sigma = reference_noise(x, read, gain, c)
    start = 2.0 * root * read**0.5 + gain
    rise = (2.0 * root * (sigma - np.float32(read**0.5)) + 2.0 * c * x) / np.float32(start)
    return np.asarray(np.log1p(rise) / np.float32(root), dtype=np.float32)


def bands_of(radiance: FloatArray, read: float, gain: float, curve: float) -> FloatArray:
    """Detail of ``radiance`` (H, W, 3) at three scales, in standard deviations: (9, H, W)."""
    import cv2

    z = stabilised(radiance, read, gain, curve)
    bands: list[FloatArray] = []
    for size in _SCALES:
        smooth = cv2.blur(z, (size, size))
        bands += cv2.split(z - smooth)
        z = smooth
    return np.stack(bands).astype(np.float32, copy=False)


def inputs(radiance: FloatArray, bands: FloatArray, left: FloatArray) -> FloatArray:
    """What the network is given: (13, H, W) float32.

    ``radiance`` (H, W, 3), the reference's saturation = 1, and its ``bands_of``; ``left`` (H, W):
    the merge's standard deviation in units of the reference's, at most 1.
    """
    import cv2

    around = cv2.blur(np.clip(radiance, 0.0, 1.0), (_LEVEL, _LEVEL))  # may end just below 0
    level = np.power(np.maximum(around, 0.0), np.float32(1 / 2.2))
    detail = np.arcsinh(bands * np.float32(0.5))
    return np.concatenate([detail, level.transpose(2, 0, 1), left[None]]).astype(np.float32)


def noise_in(bands: Array, found: Array) -> Array:
    """The noise (..., 3, H, W) in standard deviations, of ``bands`` (..., 9, H, W) and what the
    network says of them (..., 12, H, W); arrays of numpy or torch."""
    shares = bands * found[..., :9, :, :]
    by_scale = [shares[..., i : i + 3, :, :] for i in (0, 3, 6)]
    total: Array = by_scale[0] + by_scale[1] + by_scale[2] + found[..., 9:, :, :]
    return total


def amount(radiance: FloatArray, noisier: FloatArray) -> FloatArray:
    """How far a pixel is refined, (H, W) in [0, 1].

    ``noisier`` (H, W): how many times noisier it is than if every frame counted. Nothing where the
    reference clips.
    """
    low, high = _CLIPS
    below = np.clip(
        (np.float32(high) - brightest(radiance)) * np.float32(1 / (high - low)), 0.0, 1.0
    )
    low, high = _NOISIER
    missed = np.clip((noisier - np.float32(low)) * np.float32(1 / (high - low)), 0.0, 1.0)
    return np.asarray(below * missed, dtype=np.float32)
