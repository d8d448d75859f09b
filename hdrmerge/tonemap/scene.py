"""What an operator may know of a scene as a whole, measured once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hdrmerge.frames import FloatArray, HalfArray

Curve = Callable[[FloatArray], FloatArray]

_SAMPLES = 1_000_000  # luminances that the statistics look at


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Of the positive luminances: log-average, the 1st, 90th and 99th percentile, and the largest.

    ``log_average`` is Reinhard et al. 2002, eq. 1, over luminances limited to the two outer
    percentiles, which does the duty of the paper's small delta. ``mean_rgb`` are the channels'
    means. ``sample`` are up to a million positive luminances from all over the picture, and
    ``sample_rgb`` gives their colours (N, 3); ``luminance`` (H, W) is the picture itself.
    ``unit``: cd/m2 of luminance 1, None where it is not known.
    """

    log_average: float = 1.0
    low: float = 1.0
    bright: float = 1.0
    high: float = 1.0
    maximum: float = 1.0
    mean_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)
    sample: FloatArray = field(default_factory=lambda: np.ones(1, np.float32))
    sample_rgb: Callable[[], FloatArray] = lambda: np.ones((1, 3), np.float32)
    luminance: FloatArray = field(default_factory=lambda: np.ones((1, 1), np.float32))
    unit: float | None = None


def measure(
    luminance: FloatArray,
    pixels: FloatArray | HalfArray | None = None,
    mean_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0),
    unit: float | None = None,
) -> Statistics:
    """Statistics that neither a black border nor the sun's disc can upset; black gives ones.

    ``luminance``: (H, W), finite, >= 0, of ``pixels`` (H, W, 3), which may hold anything.
    """
    step = max(1, int((luminance.size / _SAMPLES) ** 0.5))
    sample = luminance[::step, ::step]
    positive = sample > 0
    sample = sample[positive]
    if sample.size == 0:
        return Statistics()
    maximum = float(luminance.max())

    def colours() -> FloatArray:  # which few operators ask for
        if pixels is None:
            return sample[:, None].repeat(3, 1)
        found = pixels[::step, ::step][positive].astype(np.float32)
        found = np.nan_to_num(found, posinf=maximum)
        return np.clip(found, 0, maximum / 0.0722)  # blue's share in luminance

    low, bright, high = (float(v) for v in np.percentile(sample, (1.0, 90.0, 99.0)))
    log_average = float(np.exp(np.mean(np.log(np.clip(sample, low, high)), dtype=np.float64)))
    return Statistics(
        log_average, low, bright, high, maximum, mean_rgb, sample, colours, luminance, unit
    )
