"""From display luminance to the codes of a picture: colour, transfer function, quantising."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.config import TonemapConfig
from hdrmerge.frames import FloatArray, HalfArray, to_float
from hdrmerge.tonemap.bands import Made, in_bands, kept
from hdrmerge.tonemap.colour import carrier, carry_alike
from hdrmerge.tonemap.operators import find_operator
from hdrmerge.tonemap.quantise import encode
from hdrmerge.tonemap.scene import measure

_WHITEST = np.float32(1e6)  # all of which is clipped at 1
_DARKEST, _BRIGHTEST = 1e-10, 1e10  # radiances beyond are none: black, or this bright
_WILD = 0.07 * _BRIGHTEST  # luminance that tells of such: blue has the least share in it
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
    return kept(rendered(pixels, config, bits=bits, dither=dither, unit=unit))


def rendered(
    pixels: FloatArray | HalfArray,
    config: TonemapConfig | None = None,
    *,
    bits: int = 8,
    dither: bool = False,
    unit: float | None = None,
) -> Made:
    """What ``tonemap`` returns, made when rows of it are asked for, by any number of threads."""
    config = config or TonemapConfig()
    operator = find_operator(config.operator)
    parameters = operator.complete(config.parameters)
    gain = np.float32(2.0**config.exposure)
    height, width = pixels.shape[:2]
    codes = np.uint8 if bits == 8 else np.uint16
    ceiling = _BRIGHTEST
    luminance = Made((height, width), lambda rows: _luminance(_clean(pixels[rows], ceiling)))
    scene = measure(luminance, pixels, unit, float(gain))
    if scene.maximum > _WILD:
        ceiling = _largest(pixels)
        scene = measure(luminance, pixels, unit, float(gain))
    if scene.maximum < _DARKEST:
        black = np.zeros((1, width, 3), codes)
        return Made(pixels.shape, lambda rows: np.repeat(black, rows.stop - rows.start, 0), codes)

    @np.errstate(over="ignore")
    def given(rows: slice, seen: FloatArray | None = None) -> FloatArray:
        """What the operator takes: luminance (``seen``, where it is known) or RGB."""
        if operator.takes == "luminance":
            seen = luminance[rows] if seen is None else seen
            return seen * gain if gain != 1 else seen
        return _clean(pixels[rows], ceiling) * gain

    made = operator.load()
    everything = slice(0, height)
    with np.errstate(over="ignore"):
        if operator.kind == "curve":
            curve = made(scene, **parameters)
        elif operator.kind == "local":
            curve = made(Made((height, width), given), scene, **parameters)
        elif operator.takes == "luminance":
            whole = made(kept(Made((height, width), given)), scene, **parameters)
        else:
            whole = made(given(everything), scene, **parameters)

    @np.errstate(over="ignore")
    def mapped(rows: slice, seen: FloatArray | None = None) -> FloatArray:
        """What the operator gives: display luminance or RGB."""
        if operator.kind == "curve":
            shown = curve(given(rows, seen))
        else:
            shown = curve(given(rows, seen), rows) if operator.kind == "local" else whole[rows]
        # what overflowed is white
        return np.ascontiguousarray(np.fmin(shown, _WHITEST), dtype=np.float32)

    def samples() -> tuple[FloatArray, FloatArray]:
        """Luminances from all over the picture, and what the operator makes of them."""
        step = max(1, int((luminance.size / _SAMPLES) ** 0.5))
        rows = [slice(y, y + 1) for y in range(0, height, step)]
        seen = np.concatenate([luminance[row][:, ::step] for row in rows])
        return seen, np.concatenate([_luminance(mapped(row)[:, ::step]) for row in rows])

    saturation = operator.saturation if config.saturation is None else config.saturation
    own_colour = operator.takes == "rgb" and config.colour is None
    carry = carrier(config.colour or operator.colour, saturation, samples, scene.maximum)

    def show(rows: slice) -> NDArray[Any]:
        if own_colour:
            linear = mapped(rows)
            shown = seen = _luminance(linear)
        else:
            linear = _clean(pixels[rows], ceiling)
            seen = _luminance(linear)
            shown = _luminance(mapped(rows, seen))
            if carry is not None:
                linear = np.ascontiguousarray(carry(linear, seen, shown), dtype=np.float32)
                seen = shown
        alike = saturation if own_colour or carry is None else 1.0
        carry_alike(linear, seen, shown, alike)
        return encode(linear, bits, top=rows.start, dither=dither)

    return Made(pixels.shape, show, codes)


def _luminance(mapped: FloatArray) -> FloatArray:
    """Of RGB, or luminance as it is."""
    if mapped.ndim == 2:
        return mapped
    from hdrmerge.tonemap.display_loops import luminance

    found = np.empty(mapped.shape[:2], np.float32)
    luminance(np.ascontiguousarray(mapped).reshape(-1), found.reshape(-1))
    return found


def count_bad(pixels: FloatArray | HalfArray) -> int:
    """How many values are NaN or infinite."""

    def count(rows: slice) -> int:
        if pixels.dtype == np.float32:
            return int(np.count_nonzero(~np.isfinite(pixels[rows])))
        # the exponent of half floats: numpy itself is slow with them
        return int(np.count_nonzero(pixels[rows].view(np.uint16) & 0x7C00 == 0x7C00))

    return sum(in_bands(pixels.shape, count))


def _largest(pixels: FloatArray | HalfArray) -> float:
    """The largest finite value, at most 1e10; 1 where there is none."""

    def peak(rows: slice) -> float:
        part = to_float(pixels[rows])
        return float(part.max(initial=0.0, where=np.isfinite(part)))

    return min(max(in_bands(pixels.shape, peak)) or 1.0, _BRIGHTEST)


def _clean(band: FloatArray | HalfArray, ceiling: float) -> FloatArray:
    """From 0 to ``ceiling``, a copy; NaN is 0."""
    from hdrmerge.tonemap.display_loops import clean_floats, clean_halves

    clean = np.empty(band.shape, np.float32)
    values: Any = np.ascontiguousarray(band).reshape(-1)
    if band.dtype == np.float16:
        clean_halves(values.view(np.uint16), np.float32(ceiling), clean.reshape(-1))
    else:
        clean_floats(values, np.float32(ceiling), clean.reshape(-1))
    return clean
