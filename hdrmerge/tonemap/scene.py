"""What an operator may know of a scene as a whole, measured once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hdrmerge.frames import FloatArray, HalfArray, to_float
from hdrmerge.tonemap.bands import Plane, in_bands, kept

Curve = Callable[[FloatArray], FloatArray]
LocalCurve = Callable[[FloatArray, slice], FloatArray]  # of a band, and its rows
Means = tuple[float, float, float]

_SAMPLES = 1_000_000  # luminances that the statistics look at


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Of the positive luminances: log-average, the 1st, 90th and 99th percentile, and the largest.

    ``log_average`` is Reinhard et al. 2002, eq. 1, over luminances limited to the two outer
    percentiles, which does the duty of the paper's small delta. ``sample`` are up to a million
    positive luminances from all over the picture, ``sample_rgb`` gives their colours (N, 3), and
    ``mean_rgb`` the means of the channels; ``luminance`` gives (H, W), the whole picture.
    ``unit``: cd/m2 of luminance 1, None where it is not known. ``exposure``: how much brighter the
    picture that an operator is given is than all that.
    """

    log_average: float = 1.0
    low: float = 1.0
    bright: float = 1.0
    high: float = 1.0
    maximum: float = 1.0
    sample: FloatArray = field(default_factory=lambda: np.ones(1, np.float32))
    sample_rgb: Callable[[], FloatArray] = lambda: np.ones((1, 3), np.float32)
    mean_rgb: Callable[[], Means] = lambda: (1.0, 1.0, 1.0)
    luminance: Callable[[], FloatArray] = lambda: np.ones((1, 1), np.float32)
    unit: float | None = None
    exposure: float = 1.0


def measure(
    luminance: Plane,
    pixels: FloatArray | HalfArray | None = None,
    unit: float | None = None,
    exposure: float = 1.0,
) -> Statistics:
    """Statistics that neither a black border nor the sun's disc can upset; black gives ones, but
    for the maximum.

    ``luminance``: (H, W), finite, >= 0, of ``pixels`` (H, W, 3), which may hold anything.
    """
    step = max(1, int((luminance.size / _SAMPLES) ** 0.5))

    def look(rows: slice) -> tuple[FloatArray, float]:
        band = luminance[rows]
        return band[-rows.start % step :: step, ::step].copy(), float(band.max())

    samples, peaks = zip(*in_bands(luminance.shape, look), strict=True)
    sample, maximum = np.concatenate(samples), max(peaks)
    positive = sample > 0
    sample = sample[positive]
    if sample.size == 0:
        return Statistics(maximum=maximum)

    def clean(found: FloatArray | HalfArray) -> FloatArray:
        values = np.nan_to_num(to_float(found), posinf=maximum)
        return np.clip(values, 0, np.float32(maximum / 0.0722))  # blue's share in luminance

    def colours() -> FloatArray:  # which few operators ask for
        if pixels is None:
            return sample[:, None].repeat(3, 1)
        return clean(pixels[::step, ::step])[positive]

    def means() -> Means:
        if pixels is None:
            return (float(sample.mean()),) * 3

        def sums(rows: slice) -> FloatArray:
            band = clean(pixels[rows]).reshape(-1, 3)
            return np.asarray(np.ones(len(band), np.float32) @ band, np.float64)

        red, green, blue = np.sum(in_bands(pixels.shape, sums), axis=0) / luminance.size
        return float(red), float(green), float(blue)

    low, bright, high = (float(v) for v in np.percentile(sample, (1.0, 90.0, 99.0)))
    log_average = float(np.exp(np.mean(np.log(np.clip(sample, low, high)), dtype=np.float64)))
    return Statistics(
        log_average=log_average,
        low=low,
        bright=bright,
        high=high,
        maximum=maximum,
        sample=sample,
        sample_rgb=colours,
        mean_rgb=means,
        luminance=lambda: kept(luminance),
        unit=unit,
        exposure=exposure,
    )
