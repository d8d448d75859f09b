"""Saturation corrections: their formulas, and what no correction may do."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.config import Colour, TonemapConfig
from hdrmerge.tonemap import OPERATORS, tonemap
from hdrmerge.tonemap.colour import (
    REC709_LUMINANCE,
    carrier,
    carry_alike,
    saturation_exponent,
)

CORRECTIONS: list[Colour] = ["none", "schlick1995", "mantiuk2009", "pouli2013"]
RNG = np.random.default_rng(5)
RGB = (2.0 ** RNG.uniform(-6, 2, (8, 9, 1)) * RNG.uniform(0.2, 1, (8, 9, 3))).astype(np.float32)
LUMINANCE = RGB @ REC709_LUMINANCE
SHOWN = (0.5 * LUMINANCE**0.5).astype(np.float32)


def carried(colour: Colour, saturation: float = 1.0, shown: np.ndarray = SHOWN) -> np.ndarray:
    carry = carrier(colour, saturation, lambda: (LUMINANCE, shown), float(LUMINANCE.max()))
    if carry is None:
        return carry_alike(RGB.copy(), LUMINANCE, shown, saturation)
    return carry(RGB, LUMINANCE, shown)


DARK = SHOWN / 8  # of which no channel exceeds white


def test_none_scales_all_channels_alike() -> None:
    expected = RGB.astype(np.float64) * (DARK / LUMINANCE)[..., None]
    np.testing.assert_allclose(carried("none", shown=DARK), expected, rtol=1e-5)


def test_none_with_saturation_keeps_luminance() -> None:
    half = carried("none", 0.5, DARK)
    np.testing.assert_allclose(half @ REC709_LUMINANCE, DARK, rtol=1e-4)
    full = carried("none", shown=DARK)
    np.testing.assert_allclose(half - DARK[..., None], 0.5 * (full - DARK[..., None]), atol=1e-5)


def test_schlick_is_a_power_of_the_ratio() -> None:
    expected = (RGB / LUMINANCE[..., None]) ** 0.6 * SHOWN[..., None]
    np.testing.assert_allclose(carried("schlick1995", 0.6), expected, rtol=1e-4)


def test_mantiuk_finds_its_exponent_from_the_slope() -> None:
    # the square root has slope 1/2 everywhere
    power = 0.5**0.9925
    s = (1 + 1.6774) * power / (1 + 1.6774 * power)
    np.testing.assert_allclose(saturation_exponent(np.array([0.5])), s, rtol=1e-6)
    np.testing.assert_allclose(saturation_exponent(np.array([1.0])), 1.0)
    expected = (RGB / LUMINANCE[..., None]) ** s * SHOWN[..., None]
    np.testing.assert_allclose(carried("mantiuk2009"), expected, rtol=2e-2)


def test_mantiuk_leaves_colour_where_contrast_is_left() -> None:
    shown = (0.1 * LUMINANCE).astype(np.float32)
    np.testing.assert_allclose(carried("mantiuk2009", shown=shown), 0.1 * RGB, rtol=1e-2)


def test_pouli_leaves_what_is_not_compressed() -> None:
    # shown in units of the scene's maximum
    shown = (LUMINANCE / LUMINANCE.max()).astype(np.float32)
    np.testing.assert_allclose(
        carried("pouli2013", shown=shown), RGB / LUMINANCE.max(), rtol=3e-3, atol=1e-5
    )


def test_pouli_desaturates_what_is_lifted() -> None:
    def spread(rgb: np.ndarray) -> np.ndarray:
        return 1 - rgb.min(axis=-1) / rgb.max(axis=-1)

    lifted = 2 * LUMINANCE / LUMINANCE.max() < SHOWN
    assert (spread(carried("pouli2013")) <= spread(RGB) + 1e-3)[lifted].all()


@pytest.mark.parametrize("colour", CORRECTIONS)
def test_grey_stays_grey(colour: Colour) -> None:
    grey = np.geomspace(1e-3, 10, 64, dtype=np.float32)[None, :, None].repeat(3, 2).repeat(4, 0)
    for name in ("reinhard2002", "drago2003"):
        codes = tonemap(grey, TonemapConfig(name, colour=colour), bits=16).astype(int)
        assert (codes.max(axis=-1) - codes.min(axis=-1)).max() <= 40


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("colour", CORRECTIONS)
@pytest.mark.filterwarnings("error")
def test_every_correction_with_every_operator(name: str, colour: Colour) -> None:
    pixels = np.tile(RGB, (4, 4, 1))
    pixels[0, 0], pixels[0, 1] = 0, [0, 0, 5]
    plain = tonemap(pixels, TonemapConfig(name, colour=colour))
    assert not plain[0, 0].any()
    grey = tonemap(pixels, TonemapConfig(name, colour=colour, saturation=0.0)).astype(int)
    assert (grey.max(axis=-1) - grey.min(axis=-1)).max() <= 1


@pytest.mark.parametrize("name", OPERATORS)
def test_saturation_is_spread(name: str) -> None:
    pixels = np.tile(RGB, (4, 4, 1))

    def spread(saturation: float) -> float:
        codes = tonemap(pixels, TonemapConfig(name, saturation=saturation)).astype(float)
        return float((codes.max(axis=-1) - codes.min(axis=-1)).mean())

    assert spread(0.3) < spread(0.8) < spread(1.3)


def test_gamut_keeps_luminance_and_the_order_of_channels() -> None:
    linear = np.array([[[2.0, 0.4, 0.1], [0.2, 0.3, 0.4], [3.0, 2.0, 1.5]]], np.float32)
    shown = linear @ REC709_LUMINANCE
    fitted = carry_alike(linear.copy(), shown, shown)
    np.testing.assert_allclose(fitted @ REC709_LUMINANCE, np.minimum(shown, 1), atol=1e-5)
    np.testing.assert_allclose(fitted[0, 1], linear[0, 1], rtol=1e-6)
    np.testing.assert_array_equal(fitted[0, 2], 1.0)
    assert fitted[0, 0, 0] > fitted[0, 0, 1] > fitted[0, 0, 2]
