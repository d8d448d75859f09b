"""Transfer functions of displays."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray


def srgb_encode(linear: FloatArray) -> FloatArray:
    """The sRGB transfer function (IEC 61966-2-1): linear [0, 1] to code fraction [0, 1]."""
    power = 1.055 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, power).astype(np.float32)


def srgb_decode(fraction: FloatArray) -> FloatArray:
    """Its inverse: code fraction [0, 1] to linear [0, 1]."""
    power = np.power((np.maximum(fraction, 0.04045) + 0.055) / 1.055, 2.4)
    return np.where(fraction <= 0.04045, fraction / 12.92, power).astype(np.float32)
