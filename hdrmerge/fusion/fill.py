"""Radiance for where the reference clips and no other frame can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hdrmerge.frames import FloatArray, brightest, thrice
from hdrmerge.stack import ExposureStack

_MIXED = 3  # rims of so many pixels (of half the size) are mixtures with what is beside them,
_RIM = np.float32(0.1)  # and count so much less


def fill_clipped(
    stack: ExposureStack,
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
) -> FloatArray | None:
    """A fill (h, w, 3), radiance; None where no frame is shorter than the reference or none tells.

    ``linear`` and ``below``: for each frame its linear values (h, w, 3) and how surely they are
    below saturation (h, w); ``trust`` (N, h, w). Made everywhere, meant for where it is needed.
    Spread from the nearest pixels that tell how bright such places are: those around that a shorter
    frame shows and is trusted with, and bright things that a shorter frame shows elsewhere (the one
    that moved). Push-pull interpolation (Gortler et al. 1996) of log radiance.
    """
    import cv2

    height, width = below[0].shape
    clips = 1.0 - halved(below[stack.reference])  # half the size will do: it is smooth anyway
    known = np.zeros((*clips.shape, 3), np.float32)
    weight = np.zeros_like(clips)
    for k in range(stack.reference):
        t = np.float32(stack.exposures[k])
        value, trusted = halved(linear[k]), halved(trust[k])
        bright = (brightest(value) >= t).astype(np.float32)
        tells = trusted * clips + (1.0 - trusted) * (1.0 - clips) * bright
        tells *= np.maximum(halved(below[k]), np.float32(1e-3))
        tells *= t / np.float32(stack.exposures[0])
        inside = cv2.erode(tells, np.ones((_MIXED, _MIXED), np.uint8))
        tells = inside + _RIM * tells
        known += thrice(tells) * cv2.log(np.maximum(value / t, np.float32(0.05)))
        weight += tells
    pyramid = [(known, weight)]
    while max(pyramid[-1][1].shape) > 1:
        known, weight = pyramid[-1]
        pyramid.append((halved(known), halved(weight)))
    if not weight.any():
        return None
    filled = np.zeros((1, 1, 3), np.float32)
    for known, weight in reversed(pyramid):
        own = np.minimum(weight * np.float32(8.0), 1.0)
        own /= np.maximum(weight, np.float32(1e-9))
        spread = cv2.resize(filled, weight.shape[::-1]).reshape(known.shape)
        filled = spread + thrice(own) * (known - thrice(weight) * spread)
    return np.asarray(cv2.resize(cv2.exp(filled), (width, height)), dtype=np.float32)


def halved(image: FloatArray) -> FloatArray:
    """(h, w[, 3]) at half the size, averaged."""
    import cv2

    height, width = image.shape[:2]
    half = ((width + 1) // 2, (height + 1) // 2)
    small = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    return np.asarray(small.reshape(half[::-1] + image.shape[2:]))
