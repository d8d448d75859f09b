"""The compiled loops of tone mapping against the same formulas in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.tonemap import auto_loops, display_loops
from hdrmerge.tonemap.quantise import encode
from hdrmerge.tonemap.transfer import srgb_decode

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("ceiling", [300.0, 1e10])
def test_every_half_float_is_cleaned(ceiling: float) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = bits.view(np.float16).astype(np.float32)
    expected = np.minimum(np.where(values > 0, values, 0.0), ceiling)
    halves, floats = np.empty(bits.size, np.float32), np.empty(bits.size, np.float32)
    display_loops.clean_halves(bits, np.float32(ceiling), halves)
    np.testing.assert_array_equal(halves, expected)
    display_loops.clean_floats(values, np.float32(ceiling), floats)
    np.testing.assert_array_equal(floats, expected)


def test_logarithms() -> None:
    values = np.exp2(RNG.uniform(-60, 60, 10_000)).astype(np.float32)
    values[:3] = 0.0, 1.0, 2.0**-50
    stops = np.empty_like(values)
    floor = np.float32(2.0**-40)
    auto_loops.log2_above(values, floor, stops)
    expected = np.log2(np.maximum(values.astype(np.float64), 2.0**-40))
    # of a single float's seven digits; an error of 1e-5 stops is 1/700 of a code
    np.testing.assert_allclose(stops, expected, rtol=2e-7, atol=6e-7)


def test_what_is_shown_is_base_and_detail() -> None:
    height, width, small = 24, 37, 4
    stops = RNG.uniform(-22, 6, (height, width)).astype(np.float32)
    slope = RNG.uniform(0.5, 1, (small, width)).astype(np.float32)
    offset = RNG.uniform(-1, 1, (small, width)).astype(np.float32)
    above = np.minimum(np.arange(height) // 6, small - 1)
    share = (np.arange(height) % 6 / np.float32(6)).astype(np.float32)
    low, scale = -24.0, 1000.0
    table = np.linspace(-14, 2, 32_000).astype(np.float32)
    found = np.empty_like(stops)
    numbers = np.float32(low), np.float32(scale), np.float32(1.1)
    auto_loops.show(stops, slope, offset, above, share, table, *numbers, found)

    below, t = np.minimum(above + 1, small - 1), share.astype(np.float64)[:, None]
    a, b = slope[above] * (1 - t) + slope[below] * t, offset[above] * (1 - t) + offset[below] * t
    base = a * stops + b
    shown = np.interp((base - low) * scale, np.arange(table.size), table)
    fade = np.sqrt(np.clip((shown + 7.5) / 2, 0, 1))
    linear = np.exp2(shown + (stops - base) * fade * 1.1)
    expected = np.where(linear > 0.75, 1 - 0.25 * np.exp((0.75 - linear) / 0.25), linear)
    assert (expected > 0.76).mean() > 0.05 and (fade == 0).mean() > 0.05
    # a step of the table is 0.0005 stops, and more where detail begins to fade in
    np.testing.assert_allclose(found, expected, rtol=1e-2)
    assert np.abs(found / expected - 1).mean() < 4e-4


def test_codes_are_the_transfer_function_s() -> None:
    """Thresholds of any pattern, away from where a sum of code and threshold is just whole."""
    linear = RNG.uniform(0, 1, (9, 31, 3)).astype(np.float32) ** 2
    high = linear.astype(np.float64)
    fraction = np.where(high <= 0.0031308, 12.92 * high, 1.055 * high ** (1 / 2.4) - 0.055)
    codes = encode(linear, 8)
    clear = np.abs(fraction * 255 % 1 - 0.5) > 0.06
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(codes[clear], np.rint(fraction * 255)[clear])
    exact = srgb_decode(np.arange(256, dtype=np.float32) / 255)
    picture = np.repeat(exact[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(encode(picture, 8)[0, :, 1], np.arange(256))


def test_colour_is_carried_alike() -> None:
    rgb = np.exp2(RNG.uniform(-8, 4, (500, 3))).astype(np.float32)
    weights = np.array([0.2126, 0.7152, 0.0722])
    seen = (rgb @ weights).astype(np.float32)
    shown = np.exp2(RNG.uniform(-8, 1, 500)).astype(np.float32)
    for saturation in (1.0, 0.0, 0.6, 1.7):
        grey = shown.astype(np.float64)[:, None]
        expected = rgb * (grey / seen[:, None])
        expected = np.maximum(grey + saturation * (expected - grey), 0)
        peak, white = expected.max(axis=1, keepdims=True), np.minimum(grey, 1)
        keep = np.where(peak > 1, (1 - white) / np.maximum(peak - white, 1e-20), 1)
        expected = np.clip(white + (expected - white) * keep, 0, 1)
        found = rgb.copy()
        display_loops.carry_alike(found.reshape(-1), seen, shown, np.float32(saturation))
        np.testing.assert_allclose(found, expected, atol=3e-6)
