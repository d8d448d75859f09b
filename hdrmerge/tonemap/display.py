"""From display luminance to the codes of a picture: colour, transfer function, quantising."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.config import TonemapConfig
from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.operators import find_operator, measure

REC709_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
_BAND = 250_000  # pixels worked on at once: what a band needs stays in the processor's cache
_THREADS = 2


def tonemap(
    pixels: FloatArray, config: TonemapConfig | None = None, *, bits: int = 8
) -> NDArray[Any]:
    """A radiance map (H, W, 3), linear Rec.709, as sRGB codes: uint8, or uint16 for ``bits`` 16.

    Exposure acts on what the operator is given, after the scene was measured, so that it brightens
    with every operator. NaN and negative values become black, infinite ones the largest finite
    value. Raises UsageError for an unknown operator or parameter.
    """
    config = config or TonemapConfig()
    operator = find_operator(config.operator)
    operator.check(config.parameters)
    ceiling = _largest(pixels)
    scene = np.empty(pixels.shape[:2], np.float32)

    def look(rows: slice) -> None:
        scene[rows] = _clean(pixels[rows], ceiling) @ REC709_LUMINANCE

    def show(rows: slice) -> None:
        linear = _carry_colour(_clean(pixels[rows], ceiling), scene[rows], shown[rows])
        codes[rows] = _encode(linear, bits)

    _in_bands(pixels, look)
    statistics = measure(scene)
    gain = np.float32(2.0**config.exposure)
    shown = operator.function(scene * gain, statistics, **config.parameters)
    codes: NDArray[Any] = np.empty(pixels.shape, np.uint8 if bits == 8 else np.uint16)
    _in_bands(pixels, show)
    return codes


def srgb_encode(linear: FloatArray) -> FloatArray:
    """The sRGB transfer function (IEC 61966-2-1): linear [0, 1] to code fraction [0, 1]."""
    power = 1.055 * np.power(np.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, power).astype(np.float32)


def quantise(fraction: FloatArray, bits: int) -> NDArray[Any]:
    """Code fractions to the nearest of 2^bits codes."""
    full = 2**bits - 1
    codes = np.clip(fraction * np.float32(full) + np.float32(0.5), 0, full)
    return np.asarray(codes, dtype=np.uint8 if bits == 8 else np.uint16)


def _encode(linear: FloatArray, bits: int) -> NDArray[Any]:
    """sRGB codes of linear values in [0, 1]; 8 bits by a table of 2^16 steps, at most 0.03 off."""
    if bits == 8:
        index = (linear * np.float32(65535) + np.float32(0.5)).astype(np.uint16)
        return np.asarray(np.take(_table(), index))
    return quantise(srgb_encode(linear), bits)


def _table() -> NDArray[np.uint8]:
    if not _TABLE:
        _TABLE.append(quantise(srgb_encode(np.linspace(0, 1, 65536, dtype=np.float32)), 8))
    return _TABLE[0]


_TABLE: list[NDArray[np.uint8]] = []


def _carry_colour(rgb: FloatArray, scene: FloatArray, shown: FloatArray) -> FloatArray:
    """``rgb`` scaled from luminance ``scene`` to ``shown``, inside the display's gamut.

    What would exceed white in one channel moves towards the grey of its luminance just as far as
    is needed: hue and luminance hold and saturation gives way, where clipping would turn a red
    lamp orange and a blue sky cyan.
    """
    target = np.minimum(shown, np.float32(1.0))
    ratio = target / np.maximum(scene, np.float32(1e-20))
    linear = rgb * ratio[..., None]
    # three planes at a time: numpy reduces over a short last axis ten times slower
    peak = np.maximum(np.maximum(linear[..., 0], linear[..., 1]), linear[..., 2])
    over = peak > 1.0
    if np.any(over):
        keep = (1.0 - target[over]) / (peak[over] - target[over])
        grey = target[over][:, None]
        linear[over] = grey + (linear[over] - grey) * keep[:, None]
    return np.minimum(linear, np.float32(1.0), out=linear)


def count_bad(pixels: FloatArray) -> int:
    """How many values are NaN or infinite."""
    return int(sum(np.count_nonzero(~np.isfinite(pixels[rows])) for rows in _bands(pixels)))


def _bands(pixels: FloatArray) -> list[slice]:
    height, width = pixels.shape[:2]
    step = max(1, _BAND // width)
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def _in_bands(pixels: FloatArray, work: Callable[[slice], None]) -> None:
    """Do ``work`` on every band of rows, two at a time (numpy lets go of the interpreter)."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(work, _bands(pixels)):
            pass


def _largest(pixels: FloatArray) -> float:
    """The largest finite value; 1 where there is none."""
    peaks = [float(pixels[rows].max(initial=0.0)) for rows in _bands(pixels)]
    if not np.all(np.isfinite(peaks)):
        bands = (pixels[rows] for rows in _bands(pixels))
        peaks = [float(b.max(initial=0.0, where=np.isfinite(b))) for b in bands]
    return max(peaks) or 1.0


def _clean(band: FloatArray, ceiling: float) -> FloatArray:
    """Finite, >= 0."""
    clean = np.nan_to_num(band, nan=0.0, posinf=ceiling, neginf=0.0)
    return np.maximum(clean, np.float32(0.0), out=clean)
