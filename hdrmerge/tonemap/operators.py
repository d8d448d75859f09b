"""Tone-mapping operators: luminance in, display luminance out; a new one is a function and a line.

An operator takes scene luminance (H, W) float32, finite and >= 0, with the statistics of the scene,
and returns display luminance (H, W) float32, linear, 0 = black and 1 = white of the display (what
exceeds 1 is the display's to clip). Colour is carried along by ``display.tonemap``. Parameters are
keyword-only floats with defaults; a default of None: the operator finds it from the picture.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hdrmerge.errors import UsageError
from hdrmerge.frames import FloatArray

_SAMPLES = 1_000_000  # luminances that the statistics look at


@dataclass(frozen=True, slots=True)
class Operator:
    """``name`` is author-year; ``summary`` one line for people; ``aliases`` shorter names."""

    name: str
    function: Callable[..., FloatArray]
    summary: str
    aliases: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, float | None]:
        """Names and defaults of the parameters."""
        signature = inspect.signature(self.function)
        return {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }

    def check(self, values: Mapping[str, float]) -> None:
        """Raise UsageError for a parameter that the operator lacks or that is not positive."""
        for name, value in values.items():
            if name not in self.parameters:
                known = ", ".join(f"--{known}" for known in self.parameters) or "none"
                raise UsageError(
                    f"The operator {self.name} has no --{name}.", f"Its parameters: {known}."
                )
            if not (np.isfinite(value) and value > 0):
                raise UsageError(f"--{name} must be a positive number, not {value:g}.")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the positive luminances: log-average, and the 1st, 90th and 99th percentile."""

    log_average: float
    low: float
    bright: float
    high: float


def measure(luminance: FloatArray) -> Statistics:
    """Statistics that neither a black border nor the sun's disc can upset; black gives ones.

    The log-average is Reinhard et al. 2002, eq. 1, taken over luminances limited to the two
    percentiles, which does the duty of the paper's small delta.
    """
    step = max(1, int((luminance.size / _SAMPLES) ** 0.5))
    sample = luminance[::step, ::step]
    sample = sample[sample > 0]
    if sample.size == 0:
        return Statistics(1.0, 1.0, 1.0, 1.0)
    low, bright, high = (float(v) for v in np.percentile(sample, (1.0, 90.0, 99.0)))
    log_average = float(np.exp(np.mean(np.log(np.clip(sample, low, high)), dtype=np.float64)))
    return Statistics(log_average, low, bright, high)


def automatic_key(statistics: Statistics) -> float:
    """The key of a scene: about 0.24, more for a bright and less for a dark one.

    The form is eq. 5 of Reinhard 2003, "Parameter estimation for photographic tone reproduction",
    JGT 7(1); its 0.18 gave pictures that are too dark beside what a camera makes. Kept within a
    stop or so of middle grey, because night should stay dark, yet be seen; lower where a lit tenth
    of the picture in black surroundings would burn out.
    """
    low, mid, high = np.log2([statistics.low, statistics.log_average, statistics.high])
    if high - low < 1e-3:
        return 0.18
    key = float(np.clip(0.24 * 4.0 ** ((2 * mid - low - high) / (high - low)), 0.1, 0.34))
    gentle = 1.6 * statistics.log_average / statistics.bright
    return key if key <= gentle else float((key * gentle) ** 0.5)


def exposure(luminance: FloatArray, statistics: Statistics) -> FloatArray:
    """Luminance as it is: 1 becomes the display's white, more is clipped."""
    return luminance


def reinhard2002(
    luminance: FloatArray,
    statistics: Statistics,
    *,
    key: float | None = None,
    white: float | None = None,
) -> FloatArray:
    """Reinhard et al. 2002, "Photographic tone reproduction", eq. 2 and 4: the global operator.

    ``key``: what the log-average becomes (0.18 in the paper; None: from the picture).
    ``white``: scaled luminance that becomes white (None: twice the 99th percentile).
    """
    key = automatic_key(statistics) if key is None else key
    scaled, limit = _scaled(luminance, statistics, key, white)
    return _compress(scaled, scaled, limit)


def reinhard2002_local(
    luminance: FloatArray,
    statistics: Statistics,
    *,
    key: float | None = None,
    white: float | None = None,
    phi: float = 8.0,
    threshold: float = 0.05,
) -> FloatArray:
    """Reinhard et al. 2002, eq. 5 to 9: dodging and burning with eight scales.

    Each pixel is compressed by the average of the largest surround that holds no strong contrast:
    the largest scale s with |V(s)| < ``threshold``, V = (V1 - V2) / (2^phi key / s^2 + V1), V1 and
    V2 Gaussian averages of sigma 0.25 s and 0.4 s, s = 1.6^0 ... 1.6^7. ``phi`` sharpens.
    """
    key = automatic_key(statistics) if key is None else key
    scaled, limit = _scaled(luminance, statistics, key, white)
    surround = scaled.copy()
    undecided = np.ones(scaled.shape, dtype=bool)
    centre = _blur(scaled, _SIGMA)
    contrast, against = np.empty_like(scaled), np.empty_like(scaled)
    for index in range(8):
        s = 1.6**index
        # the surround of this scale is the centre of the next: their radii are 1.6 apart
        wide = _blur(scaled, _SIGMA * s * 1.6)
        np.subtract(centre, wide, out=contrast)
        np.add(centre, np.float32(2.0**phi * key / s**2), out=against)
        np.abs(np.divide(contrast, against, out=contrast), out=contrast)
        undecided &= contrast < threshold
        np.copyto(surround, centre, where=undecided)
        centre = wide
    return _compress(scaled, surround, limit)


# of the first scale in pixels: the paper's exp(-(r / (alpha_1 s))^2) with alpha_1 = 1 / (2 sqrt 2)
_SIGMA = 0.25


def _scaled(
    luminance: FloatArray, statistics: Statistics, key: float, white: float | None
) -> tuple[FloatArray, float]:
    """Luminance with the log-average at ``key`` (eq. 2), and the luminance that becomes white."""
    factor = key / statistics.log_average
    limit = white if white is not None else max(1.0, 2.0 * factor * statistics.high)
    return luminance * np.float32(factor), limit


def _compress(scaled: FloatArray, surround: FloatArray, white: float) -> FloatArray:
    """L (1 + L / white^2) / (1 + surround), eq. 4 and 9."""
    result: FloatArray = scaled * (1.0 + scaled * np.float32(1.0 / white**2))
    result /= 1.0 + surround
    return result


def _blur(plane: FloatArray, sigma: float) -> FloatArray:
    """Gaussian average of ``sigma`` pixels; wide ones at reduced size, where nothing is lost."""
    import cv2

    height, width = plane.shape
    step = 1
    while sigma / (2 * step) >= 2.0 and min(height, width) >= 8 * step:
        step *= 2
    if step == 1:
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)
    small = cv2.resize(plane, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    return np.asarray(
        cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator("reinhard2002", reinhard2002, "photographic, global", ("reinhard",)),
        Operator(
            "reinhard2002-local",
            reinhard2002_local,
            "photographic, dodging and burning",
            ("reinhard-local",),
        ),
        Operator("exposure", exposure, "as the camera would, clipped at white", ("srgb", "linear")),
    )
}


def find_operator(name: str) -> Operator:
    """The operator of this name or alias; raises UsageError for an unknown one."""
    for operator in OPERATORS.values():
        if name.lower() in (operator.name, *operator.aliases):
            return operator
    raise UsageError(
        f"There is no tone-mapping operator {name!r}.", f"Known: {', '.join(OPERATORS)}."
    )
