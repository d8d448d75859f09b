"""Durand and Dorsey 2002, "Fast bilateral filtering for the display of high-dynamic-range
images"."""

from __future__ import annotations

import math

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.bilateral import bilateral
from hdrmerge.tonemap.edge_aware import log_luminance
from hdrmerge.tonemap.scene import Statistics

_ENDS = (1.0, 99.0)  # percentiles of the base that must span the contrast, as in pfstmo


def durand2002(
    picture: FloatArray,
    scene: Statistics,
    *,
    contrast: float,
    sigma_space: float,
    sigma_range: float,
) -> FloatArray:
    """Luminance (H, W) to display luminance: a base of less contrast, all of the detail.

    The base is the bilateral average of log10 luminance; it is scaled so that it spans a
    ``contrast`` of so many to one, and the detail is added as it is (section 6).
    ``sigma_space``: share of the longer side; ``sigma_range``: of log10 luminance. The base's
    brightest hundredth becomes white.
    """
    if not picture.max(initial=0.0) > 0:
        return np.zeros_like(picture)
    logs = log_luminance(picture)
    ten = math.log(10.0)
    base = bilateral(logs, sigma_space * max(picture.shape), sigma_range * ten)
    step = max(1, int((base.size / 1_000_000) ** 0.5))
    low, high = (float(v) for v in np.percentile(base[::step, ::step], _ENDS))
    factor = min(1.0, math.log(contrast) / max(high - low, 1e-6))
    offset = np.float32(math.log(scene.exposure) - factor * high)

    def band(rows: slice) -> None:
        # detail + factor base: log L - (1 - factor) base
        part = base[rows]
        part *= np.float32(factor - 1)
        part += logs[rows]
        part += offset
        np.exp(part, out=part)

    in_bands(picture.shape, band)
    return base
