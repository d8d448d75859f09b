"""Reinhard and Devlin 2005, "Dynamic range reduction inspired by photoreceptor physiology"."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.colour import REC709_LUMINANCE
from hdrmerge.tonemap.scene import Curve, Statistics
from hdrmerge.tonemap.transfer import srgb_decode


def reinhard_devlin2005(
    scene: Statistics, *, brightness: float, contrast: float | None, chromatic: float, light: float
) -> Curve:
    """Each channel's V = I / (I + (f Ia)^m), eq. 1 to 9, stretched to [0, 1]: the display's codes.

    ``brightness``: f' with f = exp(-f'). ``contrast``: m (None: 0.3 + 0.7 k^1.4 with the scene's
    key k, eq. 5). ``chromatic``: c, how far a channel adapts by itself (1) or by luminance (0).
    ``light``: a, adaptation to the pixel (1) or to the mean of the scene (0).
    """
    if contrast is None:
        logs = np.log([scene.log_average, float(scene.sample.min()), scene.maximum])
        span = logs[2] - logs[1]
        key = float(np.clip((logs[2] - logs[0]) / span, 0, 1)) if span > 1e-6 else 0.5
        contrast = 0.3 + 0.7 * key**1.4
    means = np.array(scene.mean_rgb(), np.float32)
    everywhere = chromatic * means + (1 - chromatic) * (means @ REC709_LUMINANCE)
    everywhere = np.float32(1 - light) * everywhere
    factor, power = np.float32(np.exp(-brightness)), np.float32(contrast)

    def respond(rgb: FloatArray) -> FloatArray:
        own = rgb * np.float32(light * chromatic)
        own += (rgb @ REC709_LUMINANCE)[..., None] * np.float32(light * (1 - chromatic))
        own += everywhere
        own *= factor
        np.power(own, power, out=own)
        own += rgb
        np.maximum(own, np.float32(1e-20), out=own)
        return np.asarray(np.divide(rgb, own, out=own))

    responses = respond(scene.sample_rgb())
    low, high = float(responses.min()), float(responses.max())
    scale = np.float32(1.0 / (high - low) if high - low > 1e-6 else 1.0)

    def curve(rgb: FloatArray) -> FloatArray:
        result = respond(rgb)
        if high - low > 1e-6:
            result -= np.float32(low)
        result *= scale
        return srgb_decode(np.clip(result, 0, 1, out=result))

    return curve
