"""Codes of known light, and a dither that neither darkens nor colours."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.config import TonemapConfig
from hdrmerge.tonemap import tonemap
from hdrmerge.tonemap.quantise import encode, quantise, thresholds
from hdrmerge.tonemap.transfer import srgb_encode

RNG = np.random.default_rng(1)


def grey_codes(code: float, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    """A grey area of this sRGB code, which need not be whole, dithered."""
    fraction = code / 255
    linear = fraction / 12.92 if fraction <= 0.04045 else ((fraction + 0.055) / 1.055) ** 2.4
    return encode(np.full((*shape, 3), linear, np.float32), 8, dither=True)


def test_srgb_encode_known_values() -> None:
    linear = np.array([0, 0.001, 0.0031308, 0.18, 0.5, 1], np.float32)
    known = [0, 0.01292, 0.04045, 0.461356, 0.735357, 1]
    np.testing.assert_allclose(srgb_encode(linear), known, atol=2e-5)


def test_table_of_8_bit_codes_matches_the_formula() -> None:
    linear = RNG.uniform(0, 1, (500, 200, 3)).astype(np.float32)
    exact = quantise(srgb_encode(linear), 8)
    table = encode(linear, 8)
    assert np.abs(exact.astype(int) - table).max() <= 1
    assert np.mean(exact == table) > 0.99


def test_16_bits_are_never_dithered() -> None:
    linear = RNG.uniform(0, 1, (8, 8, 3)).astype(np.float32)
    codes = encode(linear, 16, dither=True)
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, quantise(srgb_encode(linear), 16))


@pytest.mark.parametrize("code", [0.3, 1.5, 7.25, 10.9, 60.1, 127.5, 200.7, 254.4])
def test_dither_keeps_the_mean_and_uses_neighbouring_codes(code: float) -> None:
    codes = grey_codes(code)
    # 256 thresholds, and a table whose steps are up to 0.05 codes apart at black
    assert abs(codes.mean() - code) < 0.035
    assert set(np.unique(codes)) <= {int(code), int(code) + 1}


def test_dither_has_no_bias_over_all_codes() -> None:
    linear = np.linspace(0, 1, 1 << 16, dtype=np.float32).reshape(64, 1024)
    picture = np.repeat(linear[..., None], 3, axis=2)
    error = encode(picture, 8, dither=True) - srgb_encode(picture) * 255
    assert abs(error.mean()) < 0.01
    assert np.abs(error).max() < 1.05


def test_black_white_and_whole_codes_carry_no_noise() -> None:
    for code in (0, 255):
        assert np.all(grey_codes(code) == code)


def test_grey_stays_grey() -> None:
    codes = grey_codes(99.5)
    assert np.ptp(codes, axis=2).max() == 0


def test_dither_is_fine_grained() -> None:
    """Averages of small neighbourhoods already have the right level: no clumps, no lines."""
    blocks = grey_codes(99.5).astype(float)[..., 0].reshape(16, 4, 16, 4).mean(axis=(1, 3))
    white_noise = 0.5 / 4  # the standard deviation that independent thresholds would leave
    assert blocks.std() < 0.6 * white_noise
    spectrum = np.abs(np.fft.fft2(thresholds() - 127.5)) ** 2
    low = spectrum[:5, :5].mean()
    assert low < 0.05 * spectrum.mean()


def test_every_threshold_occurs_as_often() -> None:
    assert np.bincount(thresholds().ravel()).tolist() == [4] * 256


def test_bands_do_not_show() -> None:
    linear = RNG.uniform(0, 1, (50, 40, 3)).astype(np.float32)
    whole = encode(linear, 8, dither=True)
    parts = [encode(linear[a:b], 8, top=a, dither=True) for a, b in ((0, 7), (7, 41), (41, 50))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_tonemap_dithers_when_asked() -> None:
    pixels = np.full((64, 64, 3), 0.2, np.float32)
    config = TonemapConfig("exposure")
    exact = float(srgb_encode(np.float32(0.2)) * 255)
    assert np.unique(tonemap(pixels, config)).size == 1
    dithered = tonemap(pixels, config, dither=True)
    assert dithered.mean() == pytest.approx(exact, abs=0.01)
    np.testing.assert_array_equal(dithered, tonemap(pixels, config, dither=True))
