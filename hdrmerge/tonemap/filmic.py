"""Curves of film and games, a channel at a time, so that what is very bright pales.

They were made for a scene whose middle grey is 0.18; a radiance map has no such scale, so ``key``
says what its log-average becomes (None: from the picture, as with reinhard2002).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.reinhard2002 import automatic_key
from hdrmerge.tonemap.scene import Curve, Statistics
from hdrmerge.tonemap.table import look_up

Array = NDArray[np.float64]

# Rec.709 to the space of the ACES reference rendering transform (AP1 with its saturation of 0.96),
# and back with that of the output transform; Hill's
_TO_RRT = np.array(
    [[0.59719, 0.35458, 0.04823], [0.07600, 0.90834, 0.01566], [0.02840, 0.13383, 0.83777]],
    np.float32,
)
_FROM_RRT = np.array(
    [[1.60475, -0.53108, -0.07367], [-0.10208, 1.10813, -0.00605], [-0.00327, -0.07276, 1.07602]],
    np.float32,
)
# AgX: the inset that keeps primaries from clipping, and the range of its logarithm in stops
_INSET = np.array(
    [
        [0.842479062253094, 0.0784335999999992, 0.0792237451477643],
        [0.0423282422610123, 0.878468636469772, 0.0791661274605434],
        [0.0423756549057051, 0.0784336, 0.879142973793104],
    ],
    np.float32,
)
_OUTSET = np.linalg.inv(_INSET)
_AGX_LOW, _AGX_HIGH = -12.47393, 4.026069
_AGX_PIVOT = (10.0 / 16.5, 0.5)  # middle grey: ten stops above the lowest; half of the codes


def narkowicz2016(scene: Statistics, *, key: float | None) -> Curve:
    """Narkowicz 2016, "ACES filmic tone mapping curve": the rational fit, after his 0.6."""
    gain = _gain(scene, key) * np.float32(0.6)

    def curve(rgb: FloatArray) -> FloatArray:
        x = rgb * gain
        below = x * (x * np.float32(2.43) + np.float32(0.59)) + np.float32(0.14)
        x *= x * np.float32(2.51) + np.float32(0.03)
        return np.asarray(np.divide(x, below, out=x))

    return curve


def hill2016(scene: Statistics, *, key: float | None) -> Curve:
    """Hill 2016: a fit of the ACES reference rendering and sRGB output transforms together."""
    inset = _TO_RRT.T * _gain(scene, key)

    def curve(rgb: FloatArray) -> FloatArray:
        x = rgb @ inset
        above = x * (x + np.float32(0.0245786)) - np.float32(0.000090537)
        above /= x * (np.float32(0.983729) * x + np.float32(0.4329510)) + np.float32(0.238081)
        return np.asarray(np.maximum(above @ _FROM_RRT.T, np.float32(0)))

    return curve


def hable2010(
    scene: Statistics,
    *,
    key: float | None,
    shoulder: float,
    linear: float,
    angle: float,
    toe: float,
    numerator: float,
    denominator: float,
    white: float,
) -> Curve:
    """Hable 2010, "Uncharted 2: HDR lighting": A to F and W, and his exposure bias of 2.

    f(x) = (x (A x + C B) + D E) / (x (A x + B) + D F) - E / F, over f(W).
    """
    a, b, cb = shoulder, linear, angle * linear
    de, df = toe * numerator, toe * denominator
    base = numerator / denominator

    def respond(x: FloatArray) -> FloatArray:
        above = x * (np.float32(a) * x + np.float32(cb)) + np.float32(de)
        above /= x * (np.float32(a) * x + np.float32(b)) + np.float32(df)
        return np.asarray(above - np.float32(base))

    gain = _gain(scene, key) * np.float32(2.0)
    scale = np.float32(1.0 / float(respond(np.array([white], np.float32))[0]))

    def curve(rgb: FloatArray) -> FloatArray:
        return np.asarray(np.maximum(respond(rgb * gain) * scale, np.float32(0)))

    return curve


def agx(
    scene: Statistics,
    *,
    key: float | None,
    contrast: float,
    toe: float,
    shoulder: float,
    power: float,
) -> Curve:
    """Sobotka's AgX, 2022: inset, 16.5 stops of logarithm, a sigmoid, outset, exponent 2.2.

    ``contrast`` is the sigmoid's slope at middle grey, ``toe`` and ``shoulder`` how sharply it
    bends; ``power`` darkens as looks do (1.35 in the look "Punchy", with saturation 1.4).
    """
    inset = _INSET.T * _gain(scene, key)
    codes = np.linspace(0.0, 1.0, 4096)
    table = (_sigmoid(codes, contrast, toe, shoulder) ** power).astype(np.float32)

    def curve(rgb: FloatArray) -> FloatArray:
        x = np.log2(np.maximum(rgb @ inset, np.float32(2.0**_AGX_LOW)))
        x -= np.float32(_AGX_LOW)
        x *= np.float32(4095 / (_AGX_HIGH - _AGX_LOW))
        x = np.maximum(look_up(table, x) @ _OUTSET.T, np.float32(0))
        return np.asarray(np.power(x, np.float32(2.2), out=x))

    return curve


def _gain(scene: Statistics, key: float | None) -> np.float32:
    return np.float32((automatic_key(scene) if key is None else key) / scene.log_average)


def _sigmoid(x: Array, contrast: float, toe: float, shoulder: float) -> Array:
    """Through the pivot with slope ``contrast``, to 0 at 0 and 1 at 1, in float64."""
    px, py = _AGX_PIVOT

    def part(across: Array, rise: float, run: float, power: float) -> Array:
        # y = s h / (1 + h^p)^(1/p), h = contrast x / s: slope contrast at 0, and rise at run
        scale = ((contrast * run) ** -power * ((contrast * run / rise) ** power - 1)) ** (
            -1 / power
        )
        steep = contrast * across / scale
        return np.asarray(scale * steep / (1 + steep**power) ** (1 / power))

    low = py - part(np.maximum(px - x, 0), py, px, toe)
    high = py + part(np.maximum(x - px, 0), 1 - py, 1 - px, shoulder)
    return np.clip(np.where(x < px, low, high), 0, 1)
