"""The mu-law, which the literature on deep HDR shows its pictures by."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.scene import Curve, Statistics
from hdrmerge.tonemap.transfer import srgb_decode


def mulaw(scene: Statistics, *, mu: float, white: float | None) -> Curve:
    """log(1 + mu H) / log(1 + mu), Kalantari and Ramamoorthi 2017, eq. 8, as codes of the display.

    ``white``: radiance that is H = 1 (None: twice the 99th percentile of luminance; the papers take
    the largest, which a lamp in the picture makes too dark). A channel at a time.
    """
    scale = np.float32(mu / (2 * scene.high if white is None else white))

    def curve(rgb: FloatArray) -> FloatArray:
        codes = np.log1p(rgb * scale)
        codes *= np.float32(1.0 / np.log1p(mu))
        return srgb_decode(np.minimum(codes, np.float32(1.0), out=codes))

    return curve
