"""Tone mapping: known luminances have known codes, and nothing in a picture can crash it."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.config import TonemapConfig
from hdrmerge.errors import UsageError
from hdrmerge.tonemap import OPERATORS, bands, count_bad, find_operator, rendered, tonemap
from hdrmerge.tonemap.quantise import quantise
from hdrmerge.tonemap.reinhard2002 import automatic_key
from hdrmerge.tonemap.scene import Statistics, measure
from hdrmerge.tonemap.transfer import srgb_encode

RNG = np.random.default_rng(1)


def scene(height: int = 40, width: int = 60) -> np.ndarray:
    """Twelve stops of coloured noise."""
    rng = np.random.default_rng(1)
    luminance = 2.0 ** rng.uniform(-9, 3, (height, width, 1))
    return (luminance * rng.uniform(0.5, 1.0, (height, width, 3))).astype(np.float32)


def grey(value: float, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.full((*shape, 3), value, np.float32)


def luminance_of(codes: np.ndarray) -> np.ndarray:
    fraction = codes.astype(np.float64) / np.iinfo(codes.dtype).max
    low = fraction / 12.92
    linear = np.where(fraction <= 0.04045, low, ((fraction + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def test_exposure_shows_the_scene_as_it_is() -> None:
    pixels = RNG.uniform(0, 1, (9, 7, 3)).astype(np.float32)
    codes = tonemap(pixels, TonemapConfig("exposure"), bits=16)
    expected = quantise(srgb_encode(pixels), 16)
    assert np.abs(codes.astype(int) - expected).max() <= 1


def test_a_stop_of_exposure_doubles_the_light() -> None:
    codes = tonemap(grey(0.2), TonemapConfig("exposure", exposure=1.0), bits=16)
    np.testing.assert_allclose(luminance_of(codes), 0.4, atol=1e-4)


@pytest.mark.parametrize("name", ["reinhard2002", "reinhard2002-local"])
def test_reinhard_of_a_uniform_picture_is_equation_4(name: str) -> None:
    # the log-average of a uniform picture is its luminance, so that scaled luminance is the key
    key, white = 0.25, 2.0
    config = TonemapConfig(name, parameters={"key": key, "white": white})
    codes = tonemap(grey(37.0, (64, 64)), config, bits=16)
    expected = key * (1 + key / white**2) / (1 + key)
    np.testing.assert_allclose(luminance_of(codes), expected, atol=1e-4)


def test_reinhard_white_becomes_white() -> None:
    pixels = grey(1.0, (100, 100))
    pixels[0, 0] = 16.0  # four stops above the log-average, too small to move it
    config = TonemapConfig("reinhard", parameters={"key": 0.2, "white": 16 * 0.2})
    codes = tonemap(pixels, config)
    assert (codes[0, 0] >= 254).all()
    assert codes[1:].max() < 140


@pytest.mark.parametrize("name", ["reinhard2002", "reinhard2002-local"])
def test_reinhard_does_not_depend_on_the_scale(name: str) -> None:
    pixels = scene()
    a = tonemap(pixels, TonemapConfig(name))
    b = tonemap(pixels * np.float32(1024), TonemapConfig(name))
    assert np.abs(a.astype(int) - b).max() <= 1


def test_local_keeps_more_fine_contrast_in_the_light() -> None:
    pixels = grey(0.01, (128, 256))
    ripple = np.where(np.arange(128) % 4 < 2, 1.0, 1.3)
    pixels[:, 128:] *= (200 * ripple)[None, :, None].astype(np.float32)

    def contrast(name: str) -> float:
        shown = luminance_of(tonemap(pixels, TonemapConfig(name, parameters={"white": 1e6})))
        bright = shown[32:96, 180:220]
        return float(bright.max() / bright.min())

    assert contrast("reinhard-local") > 1.03 * contrast("reinhard")


@pytest.mark.parametrize("name", OPERATORS)
def test_brighter_stays_brighter(name: str) -> None:
    ramp = np.geomspace(1e-3, 10, 400, dtype=np.float32)[None, :, None].repeat(3, 2).repeat(64, 0)
    row = tonemap(ramp, TonemapConfig(name), bits=16)[32, :, 1].astype(int)
    # a local operator may dip a little where it changes to another scale
    assert np.diff(row).min() >= (-400 if OPERATORS[name].kind != "curve" else 0)
    assert row[-1] > row[0]


@pytest.mark.parametrize("name", [op.name for op in OPERATORS.values() if op.takes == "luminance"])
def test_hue_holds_where_a_channel_would_clip(name: str) -> None:
    pixels = grey(0.3, (64, 64))
    pixels[20:40, 20:40] = [6.0, 1.5, 0.3]
    config = TonemapConfig(name, colour="none")
    red, green, blue = tonemap(pixels, config, bits=16)[30, 30].astype(int)
    assert red >= green >= blue
    linear = np.array([red, green, blue]) / 65535
    linear = ((linear + 0.055) / 1.055) ** 2.4
    if red > blue:  # hue: the middle channel's place between the others
        place = (linear[1] - linear[2]) / (linear[0] - linear[2])
        assert place == pytest.approx((1.5 - 0.3) / (6.0 - 0.3), abs=0.02)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 2), (64, 65)])
def test_any_size(name: str, shape: tuple[int, int]) -> None:
    codes = tonemap(scene(*shape), TonemapConfig(name))
    assert codes.shape == (*shape, 3)
    assert codes.dtype == np.uint8


@pytest.mark.parametrize("name", OPERATORS)
def test_black_stays_black(name: str) -> None:
    assert not tonemap(grey(0.0), TonemapConfig(name)).any()


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.filterwarnings("error")
def test_bad_values_make_a_picture(name: str) -> None:
    pixels = scene()
    pixels[0, 0], pixels[0, 1], pixels[0, 2], pixels[0, 3] = np.nan, np.inf, -np.inf, -5
    pixels[0, 4] = 1e-42  # denormal
    before = pixels.copy()
    codes = tonemap(pixels, TonemapConfig(name))
    assert not codes[0, 0].any()
    assert (codes[0, 1] >= 180).all()
    assert not codes[0, 2].any()
    assert not codes[0, 3].any()
    assert count_bad(pixels) == 9
    np.testing.assert_array_equal(pixels, before)


def lamp(value: float) -> np.ndarray:
    pixels = grey(0.0, (20, 30))
    pixels[10, 15] = value
    return pixels


STRANGE = {
    "infinite": grey(np.inf),
    "negative": grey(-3.0),
    "denormal": grey(1e-42),
    "huge": grey(3e38),
    "lamp in black": lamp(1.0),
    "infinite lamp": lamp(np.inf),
    "huge lamp": lamp(1e30),
    "one row": scene(1, 200),
    "one column": scene(200, 1),
    "blue": grey(1.0) * np.array([0, 0, 1], np.float32),
    "70 stops": np.exp2(np.linspace(-35, 35, 96)).astype(np.float32).reshape(4, 8, 3),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("stops", [0.0, 30.0])
@pytest.mark.filterwarnings("error")
def test_whatever_a_file_may_hold_makes_a_picture(name: str, what: str, stops: float) -> None:
    pixels = STRANGE[what]
    codes = tonemap(pixels, TonemapConfig(name, exposure=stops))
    assert codes.shape == pixels.shape
    assert codes.any() == (what not in ("negative", "denormal"))


def test_nothing_but_bad_values() -> None:
    assert not tonemap(grey(np.nan)).any()


@pytest.mark.parametrize("name", ["auto", "reinhard2002", "hable2010"])
def test_half_floats_are_shown_as_what_they_stand_for(name: str) -> None:
    half = scene(70, 90).astype(np.float16)
    half[0, :6, 1] = [np.nan, np.inf, -np.inf, -5, 6e-8, 65504]
    config = TonemapConfig(name, exposure=0.5)
    full = half.astype(np.float32)
    np.testing.assert_array_equal(tonemap(half, config), tonemap(full, config))
    assert count_bad(half) == count_bad(full) == 3


def test_rows_are_what_the_whole_picture_has() -> None:
    pixels = scene(90, 60)
    whole, made = tonemap(pixels, dither=True), rendered(pixels, dither=True)
    assert (made.shape, made.dtype) == (whole.shape, whole.dtype)
    for rows in (slice(0, 90), slice(13, 50), slice(89, 90)):
        np.testing.assert_array_equal(made[rows], whole[rows])
    assert not rendered(grey(0.0))[1:4].any()


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = scene(70, 20)
    whole = tonemap(pixels)
    monkeypatch.setattr(bands, "BAND", 16 * 20)
    np.testing.assert_array_equal(tonemap(pixels), whole)


def test_a_border_and_the_sun_do_not_move_the_middle() -> None:
    pixels = scene(200, 200)
    plain = measure(pixels[..., 0])
    pixels[:2] = 0
    pixels[100, 100] = 1e6
    disturbed = measure(pixels[..., 0])
    assert disturbed.log_average == pytest.approx(plain.log_average, rel=0.05)
    assert disturbed.high == pytest.approx(plain.high, rel=0.05)


def test_key_follows_the_scene() -> None:
    dark, bright = Statistics(0.1, 0.01, 0.3, 100.0), Statistics(10.0, 0.01, 30.0, 100.0)
    assert 0.1 <= automatic_key(dark) < automatic_key(bright) <= 0.34
    candle = Statistics(0.1, 0.01, 10.0, 100.0)
    assert automatic_key(candle) < automatic_key(dark)
    assert automatic_key(Statistics(1.0, 1.0, 1.0, 1.0)) == 0.18


def test_unknown_operator_names_those_known() -> None:
    with pytest.raises(UsageError) as caught:
        find_operator("sparkle")
    assert "reinhard2002" in (caught.value.hint or "")


def test_names_and_aliases_are_distinct() -> None:
    names = [name for op in OPERATORS.values() for name in (op.name, *op.aliases)]
    assert len(names) == len(set(names))
    assert find_operator("Reinhard").name == "reinhard2002"


@pytest.mark.parametrize("parameters", [{"white": 2.0}, {"contrast": 1.0}])
def test_parameter_that_the_operator_lacks(parameters: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        tonemap(grey(1), TonemapConfig("exposure", parameters=parameters))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_parameters_are_positive(value: float) -> None:
    with pytest.raises(UsageError):
        tonemap(grey(1), TonemapConfig("reinhard", parameters={"key": value}))
