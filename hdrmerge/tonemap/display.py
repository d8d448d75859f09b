"""From display luminance to the codes of a picture: colour, transfer function, quantising."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.config import TonemapConfig
from hdrmerge.frames import FloatArray, HalfArray, to_float
from hdrmerge.tonemap.bands import bands, in_bands
from hdrmerge.tonemap.colour import REC709_LUMINANCE, carrier, fit_gamut, saturate
from hdrmerge.tonemap.operators import find_operator
from hdrmerge.tonemap.quantise import encode
from hdrmerge.tonemap.scene import measure

_WHITEST = np.float32(1e6)  # all of which is clipped at 1
_DARKEST, _BRIGHTEST = 1e-10, 1e10  # radiances beyond are none: black, or this bright
_SAMPLES = 100_000  # pixels whose change of contrast the saturation correction looks at


def tonemap(
    pixels: FloatArray | HalfArray,
    config: TonemapConfig | None = None,
    *,
    bits: int = 8,
    dither: bool = False,
    unit: float | None = None,
) -> NDArray[Any]:
    """A radiance map (H, W, 3), linear Rec.709, as sRGB codes: uint8, or uint16 for ``bits`` 16.

    ``dither`` spreads what 8 bits cannot show over neighbouring pixels, see ``quantise.encode``.
    ``unit``: cd/m2 of radiance 1 where it is known (``CaptureSettings.saturation_luminance``); it
    tells a night from a day.

    Exposure acts on what the operator is given, after the scene was measured, so that it brightens
    with every operator. NaN and negative values become black, infinite ones the largest finite
    value, and none counts as more than 1e10. Raises UsageError for an unknown operator or
    parameter.
    """
    config = config or TonemapConfig()
    operator = find_operator(config.operator)
    parameters = operator.complete(config.parameters)
    gain = np.float32(2.0**config.exposure)
    ceiling = _largest(pixels)
    luminance, mean_rgb = _look(pixels, ceiling)
    codes: NDArray[Any] = np.zeros(pixels.shape, np.uint8 if bits == 8 else np.uint16)
    if luminance.max() < _DARKEST:
        return codes
    scene = measure(luminance, pixels, mean_rgb, unit)

    @np.errstate(over="ignore")
    def picture(part: tuple[slice, ...]) -> FloatArray:
        """What the operator takes: luminance or RGB of a part."""
        if operator.takes == "luminance":
            return luminance[part] * gain if gain != 1 else luminance[part]
        return _clean(pixels[part], ceiling) * gain

    with np.errstate(over="ignore"):
        if operator.kind == "curve":
            curve = operator.load()(scene, **parameters)
        else:
            whole = operator.load()(picture((slice(None),)), scene, **parameters)

    @np.errstate(over="ignore")
    def mapped(part: tuple[slice, ...]) -> FloatArray:
        """What the operator gives: display luminance or RGB of a part."""
        shown = curve(picture(part)) if operator.kind == "curve" else whole[part]
        # what overflowed is white
        return np.ascontiguousarray(np.fmin(shown, _WHITEST), dtype=np.float32)

    step = max(1, int((luminance.size / _SAMPLES) ** 0.5))
    sparse = (slice(None, None, step), slice(None, None, step))
    saturation = operator.saturation if config.saturation is None else config.saturation
    own_colour = operator.takes == "rgb" and config.colour is None
    carry = carrier(
        config.colour or operator.colour,
        saturation,
        luminance[sparse],
        _luminance(mapped(sparse)),
        scene.maximum,
    )

    def show(rows: slice) -> None:
        linear = mapped((rows,))
        shown = _luminance(linear)
        if own_colour:
            linear = saturate(linear, shown, saturation)
        else:
            linear = carry(_clean(pixels[rows], ceiling), luminance[rows], shown)
        codes[rows] = encode(fit_gamut(linear, shown), bits, top=rows.start, dither=dither)

    in_bands(pixels.shape, show)
    return codes


def _look(
    pixels: FloatArray | HalfArray, ceiling: float
) -> tuple[FloatArray, tuple[float, float, float]]:
    """Luminance (H, W) and the channels' means."""
    luminance = np.empty(pixels.shape[:2], np.float32)

    def look(rows: slice) -> NDArray[np.float64]:
        clean = _clean(pixels[rows], ceiling)
        luminance[rows] = clean @ REC709_LUMINANCE
        ones = np.ones(luminance[rows].size, np.float32)
        return np.asarray(ones @ clean.reshape(-1, 3), dtype=np.float64)

    sums = np.sum(in_bands(pixels.shape, look), axis=0)
    red, green, blue = (float(total) / luminance.size for total in sums.tolist())
    return luminance, (red, green, blue)


def _luminance(mapped: FloatArray) -> FloatArray:
    """Of display luminance itself, or of display RGB."""
    return mapped if mapped.ndim == 2 else np.asarray(mapped @ REC709_LUMINANCE)


def count_bad(pixels: FloatArray) -> int:
    """How many values are NaN or infinite."""
    return int(sum(np.count_nonzero(~np.isfinite(pixels[rows])) for rows in bands(pixels.shape)))


def _largest(pixels: FloatArray | HalfArray) -> float:
    """The largest finite value, at most 1e10; 1 where there is none."""

    def peak(rows: slice) -> float:
        part = to_float(pixels[rows])
        highest = float(part.max(initial=0.0))
        if not np.isfinite(highest):
            highest = float(part.max(initial=0.0, where=np.isfinite(part)))
        return highest

    return min(max(in_bands(pixels.shape, peak)) or 1.0, _BRIGHTEST)


def _clean(band: FloatArray | HalfArray, ceiling: float) -> FloatArray:
    """From 0 to ``ceiling``; NaN is 0."""
    values = to_float(band)
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0.0)
    return np.clip(values, np.float32(0.0), np.float32(ceiling))
