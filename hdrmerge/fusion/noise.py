"""Noise of a frame as a function of its linear value, measured on the bracket itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdrmerge.frames import ExposureStack, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NoiseModel:
    """Variance of a linear value x (1 = saturation): ``gain * x + read + code * slope(x)**2``.

    ``gain`` and ``read`` are (N,), one a frame. ``code`` is the variance of a code fraction
    (quantisation, JPEG) and ``slopes`` (K,) the inverse response's slope at K equidistant x.
    ``pixels`` is the number of pixels of the frames it was measured on.
    """

    gain: FloatArray
    read: FloatArray
    code: float
    slopes: FloatArray
    pixels: int

    def variance(self, linear: FloatArray, frame: int) -> FloatArray:
        """Variance of ``linear`` (any shape) in ``frame``, float32, > 0."""
        x = np.clip(linear, 0.0, 1.0)
        last = len(self.slopes) - 1
        slope = self.slopes[np.rint(x * np.float32(last)).astype(np.int32)]
        variance = self.gain[frame] * x + self.read[frame] + np.float32(self.code) * slope * slope
        return np.asarray(variance, dtype=np.float32)


def estimate_noise(stack: ExposureStack) -> NoiseModel:
    """The noise of a bracket's frames."""
    n = len(stack)
    knots = 4097
    curve = stack.response.curve.mean(axis=1)
    codes = np.linspace(0.0, 1.0, len(curve))
    at = np.interp(np.linspace(0.0, 1.0, knots), curve, codes)
    slope = np.interp(at, codes, np.gradient(curve, codes))
    display = stack.frames[0].encoding == "display"
    return NoiseModel(
        gain=np.full(n, 1.0 / 4000.0, np.float32),
        read=np.full(n, (3.0 / 4000.0) ** 2, np.float32),
        code=(0.7 / 255.0) ** 2 if display else (0.3 / 4095.0) ** 2,
        slopes=(slope if display else np.ones(knots)).astype(np.float32),
        pixels=stack.shape[0] * stack.shape[1],
    )
