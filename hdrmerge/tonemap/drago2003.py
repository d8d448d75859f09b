"""Drago, Myszkowski, Annen and Chiba 2003, "Adaptive logarithmic mapping"."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.scene import Curve, Statistics


def drago2003(scene: Statistics, *, bias: float) -> Curve:
    """Eq. 4, in units of the scene's log-average; the largest luminance becomes white.

    A logarithm whose base goes from 2 in the dark to 10 at the maximum; ``bias`` says how.
    """
    maximum = scene.maximum / scene.log_average
    exponent = np.float32(np.log(bias) / np.log(0.5))
    # ln(Lw + 1) / ln(base), over log10(Lwmax + 1)
    scale = np.float32(1.0 / np.log10(maximum + 1.0))

    def curve(luminance: FloatArray) -> FloatArray:
        world = luminance * np.float32(1.0 / scene.log_average)
        base = np.power(world * np.float32(1.0 / maximum), exponent)
        base *= np.float32(8.0)
        base += np.float32(2.0)
        np.log(base, out=base)
        np.log1p(world, out=world)
        world /= base
        world *= scale
        return world

    return curve
