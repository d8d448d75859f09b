"""The global operators: values that the papers' formulas give, and what each is made for."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys

import numpy as np
import pytest

from hdrmerge.config import TonemapConfig
from hdrmerge.tonemap import OPERATORS, Operator, tonemap
from hdrmerge.tonemap.quadratic import minimise
from hdrmerge.tonemap.scene import Statistics, measure
from hdrmerge.tonemap.transfer import srgb_decode, srgb_encode
from hdrmerge.tonemap.vision import cone_threshold, rod_threshold, sensitivity, transducer

RGB = np.array([[[0.02, 0.18, 0.5], [1.0, 3.0, 0.1]]], np.float32)


def made(name: str, scene: Statistics, **parameters: float):
    """The curve of an operator for a scene."""
    operator = OPERATORS[name]
    return operator.load()(scene, **operator.complete(parameters))


def ramp(stops: float = 14.0, rows: int = 32) -> np.ndarray:
    return np.geomspace(2.0 ** (3 - stops), 8.0, 512, dtype=np.float32)[None].repeat(rows, 0)


def grey(luminance: np.ndarray) -> np.ndarray:
    return luminance[..., None].repeat(3, -1)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_a_record_describes_its_function(operator: Operator) -> None:
    parameters = inspect.signature(operator.load()).parameters.values()
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert [p.name for p in keywords] == [p.name for p in operator.parameters]
    assert all(p.default is p.empty for p in keywords), "defaults belong into the record"
    for parameter in operator.parameters:
        assert parameter.low < parameter.high
        assert parameter.default is None or parameter.low <= parameter.default <= parameter.high
    assert operator.summary
    assert operator.reference


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.filterwarnings("error")
def test_every_parameter_may_be_at_its_limits(operator: Operator) -> None:
    pixels = grey(ramp(rows=8)[:, ::16])
    pixels[..., 1] *= 0.5
    for parameter in operator.parameters:
        for value in (parameter.low, parameter.high):
            config = TonemapConfig(operator.name, parameters={parameter.name: value})
            assert tonemap(pixels, config).shape == pixels.shape, (parameter.name, value)


def test_operators_are_listed_without_numpy() -> None:
    code = (
        "import sys; from hdrmerge.tonemap import find_operator; find_operator('drago').check({});"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drago_is_equation_4() -> None:
    scene = Statistics(log_average=0.5, maximum=20.0)
    bias, world, largest = 0.8, 3.0 / 0.5, 20.0 / 0.5
    base = 2 + 8 * (world / largest) ** (math.log(bias) / math.log(0.5))
    expected = math.log(world + 1) / math.log(base) / math.log10(largest + 1)
    shown = made("drago2003", scene, bias=bias)(np.array([[3.0, 20.0]], np.float32))
    np.testing.assert_allclose(shown, [[expected, 1.0]], rtol=1e-5)


def test_reinhard_devlin_is_its_equations() -> None:
    values = np.array([0.1, 1.0, 4.0], np.float32)
    scene = Statistics(
        0.7,
        maximum=4.0,
        mean_rgb=lambda: (1.7, 1.7, 1.7),
        sample=values,
        sample_rgb=lambda: grey(values),
    )
    f, m, a = math.exp(-1.0), 0.6, 0.3
    response = values / (values + (f * (a * values + (1 - a) * 1.7)) ** m)
    expected = (response - response[0]) / (response[-1] - response[0])
    curve = made("reinhard-devlin2005", scene, brightness=1.0, contrast=m, light=a)
    np.testing.assert_allclose(srgb_encode(curve(grey(values)[None]))[0, :, 0], expected, atol=1e-5)


def test_mulaw_is_its_formula_in_codes() -> None:
    shown = made("mulaw", Statistics(), mu=500.0, white=4.0)(RGB)
    expected = np.log1p(500 * np.minimum(RGB / 4, 1)) / np.log1p(500)
    np.testing.assert_allclose(srgb_encode(shown), expected, atol=2e-5)


def test_filmic_curves_of_grey() -> None:
    scene, one = Statistics(), np.ones((1, 1, 3), np.float32)
    rational = (0.6 * (2.51 * 0.6 + 0.03)) / (0.6 * (2.43 * 0.6 + 0.59) + 0.14)
    np.testing.assert_allclose(made("narkowicz2016", scene, key=1.0)(one), rational, rtol=1e-5)
    x = 0.18
    hill = (x * (x + 0.0245786) - 0.000090537) / (x * (0.983729 * x + 0.432951) + 0.238081)
    np.testing.assert_allclose(made("hill2016", scene, key=x)(one), hill, rtol=1e-4)
    # twice the radiance, his bias, is W
    np.testing.assert_allclose(made("hable2010", scene, key=5.6)(one), 1.0, rtol=1e-5)


def test_agx_is_near_the_polynomial_in_wide_use() -> None:
    # Wrensch 2023's fit of Sobotka's curve, mean squared error 3.7e-6
    x = np.linspace(0.05, 0.95, 50)
    terms = [15.5, -40.14, 31.96, -6.868, 0.4298, 0.1191, -0.00232]
    luminance = 2.0 ** (x * 16.5 - 12.47393)
    shown = made("sobotka2022", Statistics(), key=1.0)(grey(luminance.astype(np.float32))[None])
    np.testing.assert_allclose(shown[0, :, 0] ** (1 / 2.2), np.polyval(terms, x), atol=8e-3)


def test_agx_of_middle_grey_is_half_of_the_codes() -> None:
    shown = made("sobotka2022", Statistics(), key=0.18)(np.ones((1, 1, 3), np.float32))
    np.testing.assert_allclose(shown, 0.5**2.2, atol=2e-4)


@pytest.mark.parametrize("name", ["narkowicz2016", "hill2016", "hable2010", "sobotka2022"])
def test_bright_colours_pale(name: str) -> None:
    scene = Statistics()

    def saturation(gain: float) -> float:
        shown = made(name, scene, key=0.18)(np.float32(gain) * np.array([[[1.0, 0.3, 0.2]]]))
        return float(1 - shown.min() / shown.max())

    assert saturation(200.0) < 0.5 * saturation(1.0)


def test_ward_never_exaggerates_contrast() -> None:
    luminance = np.concatenate([ramp(rows=400), np.full((400, 400), 0.02, np.float32)], axis=1)
    row = ramp(rows=1)
    shown = made("ward1997", measure(luminance), view=360)(row)
    # the display adds its black of 1 to 100 cd/m2
    slope = np.diff(np.log(shown[0] * 99 + 1)) / np.diff(np.log(row[0]))
    assert slope.min() >= -1e-3
    assert slope.max() <= 1.1
    assert shown.max() == pytest.approx(1.0, abs=0.02)


def test_ward_only_scales_what_fits_the_display() -> None:
    luminance = np.geomspace(1.0, 2.0, 4096, dtype=np.float32).reshape(64, 64)
    shown = made("ward1997", measure(luminance))(luminance)
    np.testing.assert_allclose(shown, luminance / 2, rtol=1e-5)


def test_ward_with_sensitivity_keeps_the_night_dark() -> None:
    luminance = np.concatenate([ramp(rows=400), np.full((400, 400), 0.02, np.float32)], axis=1)
    scene = measure(luminance)
    day = made("ward1997", scene, sensitivity=1, luminance=1e4)(luminance)
    night = made("ward1997", scene, sensitivity=1, luminance=1e-2)(luminance)
    assert np.median(night) < 0.7 * np.median(day)


def test_ferwerda_by_day_is_an_exposure() -> None:
    scene = Statistics(high=8.0)
    shown = made("ferwerda1996", scene)(RGB)
    np.testing.assert_allclose(shown, RGB / 8, rtol=1e-4)


def test_ferwerda_by_night_is_dim_and_bluish() -> None:
    scene, white = Statistics(high=1.0), np.ones((1, 1, 3), np.float32)
    night = made("ferwerda1996", scene, luminance=1e-3)(white)[0, 0]
    day = made("ferwerda1996", scene, luminance=1e3)(white)[0, 0]
    red, green, blue = night
    assert blue > red > green
    assert night.max() < day.max()
    red = made("ferwerda1996", scene, luminance=1e-3)(np.array([[[1, 0.05, 0.05]]], np.float32))
    assert red[0, 0, 0] / red[0, 0, 1] < 4


def test_mantiuk2008_leaves_contrast_that_a_display_can_show() -> None:
    # a decade and a half of fine texture, on a display as bright as the day
    rng = np.random.default_rng(3)
    luminance = 10 ** (1.5 * np.linspace(0, 1, 256) + rng.normal(0, 0.05, (128, 256)))
    luminance = luminance.astype(np.float32)
    curve = made("mantiuk2008", measure(luminance), peak=1e5, black=1.0, ambient=0.0)
    low, high = curve(grey(np.array([[2.0, 20.0]], np.float32)))[0, :, 0]
    assert high / low == pytest.approx(10.0, rel=0.25)


def test_mantiuk2008_brightens_in_bright_surroundings() -> None:
    scene = measure(np.exp2(np.random.default_rng(4).uniform(-7, 3, (96, 96))).astype(np.float32))
    middle = grey(np.array([[0.3]], np.float32))
    dim, sunny = (made("mantiuk2008", scene, ambient=lux)(middle).mean() for lux in (0.0, 5000.0))
    assert sunny > 1.5 * dim


def test_mantiuk2008_reference_white() -> None:
    scene = measure(np.exp2(np.random.default_rng(4).uniform(-7, 3, (96, 96))).astype(np.float32))
    white = grey(np.array([[1.0]], np.float32))
    free, bound = (made("mantiuk2008", scene, **p)(white).mean() for p in ({}, {"white": 1.0}))
    assert bound > 0.9
    assert bound > free


@pytest.mark.parametrize("limit", [10.0, 1.0])
def test_minimise_finds_the_least_within_its_bounds(limit: float) -> None:
    matrix = np.diag([2.0, 1.0, 4.0])
    vector = np.array([-2.0, 3.0, -4.0])
    # without a limit: (1, 0, 1); with sum <= 1 both give way by equal slopes 2 x - 2 = 4 x - 4
    expected = [1.0, 0.0, 1.0] if limit == 10 else [1 / 3, 0.0, 2 / 3]
    np.testing.assert_allclose(minimise(matrix, vector, limit), expected, atol=1e-6)


def test_thresholds_obey_weber_by_day_and_stop_at_night() -> None:
    for threshold, slope in ((cone_threshold, -1.255), (rod_threshold, -0.395)):
        np.testing.assert_allclose(threshold(1e4) / 1e4, 10**slope, rtol=1e-6)
        np.testing.assert_allclose(threshold(1e-5), threshold(1e-6))
        fine = np.log10(threshold(np.geomspace(1e-6, 1e4, 2000)))
        assert np.abs(np.diff(fine)).max() < 0.02  # no jump where the pieces meet


def test_sensitivity_peaks_at_a_few_cycles_and_grows_with_light() -> None:
    frequencies = [0.5, 4.0, 30.0]
    low, middle, high = (float(sensitivity(f, 100.0)) for f in frequencies)
    assert middle > low
    assert middle > 10 * high
    assert sensitivity(4.0, 1000.0) > sensitivity(4.0, 1.0)
    # a contrast of about 1 / sensitivity is one step
    assert float(transducer(np.array(np.log10(1 + 1 / middle)), np.array(middle))) == pytest.approx(
        1.0, abs=0.05
    )


def test_srgb_decode_undoes_encode() -> None:
    linear = np.linspace(0, 1, 1001, dtype=np.float32)
    np.testing.assert_allclose(srgb_decode(srgb_encode(linear)), linear, atol=2e-6)
