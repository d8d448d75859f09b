"""What the refiner is shown of a merge, and what its answer means.

Everything is in standard deviations of the reference's own noise, so that it is the same problem
for every camera. The loops over pixels are in ``refine_inputs_loops``.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from hdrmerge.frames import FloatArray, brightest

Array = TypeVar("Array", bound=Any)

_SCALES = (3, 5, 13)  # pixels over which detail is averaged, one after the other
_LEVEL = 17  # pixels over which the level is averaged
MARGIN = sum(size // 2 for size in _SCALES)  # pixels around what is shown that all this reaches
_NOISIER = (1.15, 1.5)  # times the noise of all frames: from here on refined, and wholly
_CLIPS = (0.85, 0.95)  # of the reference's saturation: above, its noise is not known
_STEEPEST = 1e-2  # least share of the noise curve's term: keeps the logarithm well-conditioned


def reference_noise(radiance: FloatArray, read: float, gain: float, curve: float) -> FloatArray:
    """Standard deviation of the reference where it sees ``radiance`` (any shape)."""
    x = np.clip(radiance, 0.0, 1.0)
    variance = (x * np.float32(curve) + np.float32(gain)) * x + np.float32(read)
    return np.asarray(np.sqrt(variance), dtype=np.float32)


def shown(
    planes: FloatArray,
    left: FloatArray,
    model: tuple[float, float, float],
    inside: tuple[int, int, int, int],
) -> tuple[FloatArray, FloatArray]:
    """What the network is shown, and the detail that its answer is about; folded (``unfold``).

    ``planes`` (3, h + 18, w + 18), h and w even: radiance, the reference's saturation = 1. ``left``
    of the same size: the merge's standard deviation in units of the reference's, at most 1.
    ``model``: read, gain and curve of the reference's noise. ``inside``: top, left, height and
    width, all even, of the part of (h, w) that the detail is wanted of.

    Returns (52, h/2, w/2), 13 inputs: detail at three scales of three channels, by the inverse
    hyperbolic sine of half of it; three channels' level, with a display's gamma; ``left``. And
    (36, inside): the detail.

    Detail is what averages over 3, 5 and 13 pixels take away, one after the other, on a scale on
    which the reference's noise is 1: the integral of 1 / sigma, which for sigma^2 = read + gain x +
    curve x^2 is a logarithm (generalises Anscombe 1948). The level is averaged over 17 pixels.
    """
    from hdrmerge.fusion import refine_inputs_loops as loops

    read, gain, curve = model
    scalars = np.float32(read), np.float32(gain), np.float32(max(curve, _STEEPEST * gain, 1e-9))
    high, wide = left.shape
    height, width = high - 2 * MARGIN, wide - 2 * MARGIN
    begin = np.array(inside[:2])
    seen = np.empty((52, height // 2, width // 2), np.float32)
    bands = np.empty((36, inside[2] // 2, inside[3] // 2), np.float32)
    clipped = np.empty((high, wide), np.float32)
    level = np.empty((high - _LEVEL + 1, wide - _LEVEL + 1), np.float32)
    scales = [np.empty((high, wide), np.float32)]
    for size in _SCALES:
        h, w = scales[-1].shape
        scales.append(np.empty((h - size + 1, w - size + 1), np.float32))
    for c in range(3):
        loops.stabilise(planes[c], *scalars, clipped, scales[0])
        loops.average(clipped, _LEVEL, level)
        loops.fold(level, MARGIN - _LEVEL // 2, 36 + 4 * c, 1, seen)
        at = MARGIN
        for i, size in enumerate(_SCALES):
            loops.average(scales[i], size, scales[i + 1])
            loops.detail(scales[i], scales[i + 1], at, 12 * i + 4 * c, begin, seen, bands)
            at -= size // 2
    loops.fold(left, MARGIN, 48, 0, seen)
    return seen, bands


def inputs(radiance: FloatArray, left: FloatArray, model: tuple[float, float, float]) -> FloatArray:
    """The network's inputs (13, H, W) for a whole picture (H, W, 3), H and W even, mirrored at its
    borders; ``left`` (H, W) and ``model`` as in ``shown``."""
    import cv2

    wide, noisy = (
        cv2.copyMakeBorder(part, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REFLECT_101)
        for part in (radiance, left)
    )
    planes = split(np.asarray(wide, np.float32))
    return unfold(shown(planes, np.asarray(noisy, np.float32), model, (0, 0, 0, 0))[0])


def split(picture: FloatArray) -> FloatArray:
    """(h, w, 3) as planes (3, h, w), contiguous."""
    import cv2

    planes = np.empty((3, *picture.shape[:2]), np.float32)
    cv2.split(picture, list(planes))
    return planes


def unfold(x: FloatArray) -> FloatArray:
    """(4 C, H, W) to (C, 2 H, 2 W), as torch's pixel_shuffle does."""
    c, h, w = x.shape[0] // 4, *x.shape[1:]
    parts = x.reshape(c, 2, 2, h, w).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(parts).reshape(c, 2 * h, 2 * w)


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
    top, below, least, missed = limits()
    known = np.clip((top - brightest(radiance)) * below, 0.0, 1.0)
    return np.asarray(known * np.clip((noisier - least) * missed, 0.0, 1.0), dtype=np.float32)


def limits() -> FloatArray:
    """(4,): from where on the reference clips, factor; from where on it is noisier, factor."""
    (low, high), (least, wholly) = _CLIPS, _NOISIER
    return np.array([high, 1 / (high - low), least, 1 / (wholly - least)], np.float32)
