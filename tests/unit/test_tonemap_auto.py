"""The operator auto: what people mean by "looks right", as numbers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hdrmerge.config import TonemapConfig
from hdrmerge.frames import CaptureSettings
from hdrmerge.picture import write_picture
from hdrmerge.tmqi import tmqi
from hdrmerge.tonemap import tonemap
from hdrmerge.tonemap.contrast_curve import fit_curve
from hdrmerge.tonemap.scene import Statistics
from hdrmerge.tonemap.transfer import srgb_decode


def show(pixels: np.ndarray, exposure: float = 0.0, **given: float) -> np.ndarray:
    return tonemap(pixels, TonemapConfig("auto", exposure, given))


def coloured(stops: np.ndarray, colour: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    rgb = np.float32(colour) / np.dot(colour, [0.2126, 0.7152, 0.0722])
    return (np.exp2(stops)[:, :, None] * rgb).astype(np.float32)


def texture(height: int, width: int, stops: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (height, width))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return smooth * (stops / smooth.std())


def interior(height: int = 200, width: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Stops of a textured room with a window that is seven stops brighter; where the window is."""
    window = np.zeros((height, width), bool)
    window[40:110, 180:250] = True
    stops = texture(height, width, 0.5) + np.where(window, 2.0, -5.0)
    y = np.linspace(-1, 1, height)[:, None]
    return stops + np.where(window, 0, 1.5 * y), window


# --- the curve


def test_curve_puts_the_mean_where_it_is_asked() -> None:
    stops = np.random.default_rng(0).normal(-3, 1.5, (200, 200)).astype(np.float32)
    for brightness in (90.0, 112.0, 130.0):
        shown = np.exp2(fit_curve(stops, brightness)(stops))
        code = 255 * np.interp(shown, srgb_decode(np.linspace(0, 1, 4096)), np.linspace(0, 1, 4096))
        assert code.mean() == pytest.approx(brightness, abs=3)


def test_curve_rises_and_keeps_contrast_where_the_pixels_are() -> None:
    rng = np.random.default_rng(1)
    # two populations nine stops apart with nothing between them
    stops = np.concatenate([rng.normal(-6, 0.5, 30000), rng.normal(3, 0.5, 10000)])
    curve = fit_curve(stops.astype(np.float32)[None], 112)
    slopes = np.diff(curve.display) / np.diff(curve.scene)
    assert slopes.min() > 0
    middle = np.interp([-6, -1.5, 3], curve.scene[:-1], slopes)
    assert middle[0] > 0.75
    assert middle[2] > 0.6
    assert middle[1] < 0.35


def test_curve_of_one_tone() -> None:
    shown = np.exp2(fit_curve(np.full((9, 9), -3.0, np.float32), 112)(np.array([-3.0])))
    assert 0.1 < shown[0] < 0.4


# --- pictures


def test_room_and_window_are_both_seen() -> None:
    stops, window = interior()
    codes = show(coloured(stops))[:, :, 1].astype(float)
    assert 60 < np.median(codes[~window]) < 140
    assert 190 < np.median(codes[window]) < 254
    assert codes[window].std() > 4  # there is something to see outside
    clipped = tonemap(coloured(stops + 5 - np.log2(4)), TonemapConfig("exposure"))[:, :, 1]
    assert clipped[window].std() < 1  # which one exposure for the room does not show


def test_no_halo_along_an_edge() -> None:
    stops = np.full((160, 240), -6.0)
    stops[:, 120:] = 1.0
    codes = show(coloured(stops))[80, :, 1].astype(int)
    # each side is one tone: nothing brighter or darker accompanies the edge
    assert np.ptp(codes[:119]) <= 3
    assert np.ptp(codes[122:]) <= 3
    assert np.diff(codes).min() >= -2


def test_brightest_parts_are_white_and_not_grey() -> None:
    stops = texture(160, 240, 1.0)
    stops[60:70, 100:110] = 9
    codes = show(coloured(stops))
    assert codes[65, 105].min() >= 248


def test_a_dark_room_stays_dark() -> None:
    rng = np.random.default_rng(2)
    stops = np.full((200, 300), -9.0) + rng.normal(0, 0.4, (200, 300))
    stops[80:120, 120:200] = 4.0
    codes = show(coloured(stops))[:, :, 1].astype(float)
    assert np.median(codes) < 75
    assert codes[100, 150] > 235
    lit = show(coloured(np.where(stops > 0, 4.0, stops + 9)))[:, :, 1].astype(float)
    # the same noise as texture of a lit wall keeps its contrast
    assert codes[:60].std() < 0.7 * lit[:60].std()


def test_a_night_is_darker_where_exif_tells_it() -> None:
    stops, window = interior()
    pixels = coloured(stops)
    average = 2.0 ** float(stops.mean())

    def at(luminance: float) -> np.ndarray:
        return tonemap(pixels, TonemapConfig("auto"), unit=luminance / average).astype(float)

    unknown = show(pixels).astype(float)
    for day in (1e4, 100.0, 12.0):  # cd/m2, on average
        np.testing.assert_array_equal(at(day), unknown)
    means = [unknown.mean(), *(at(night).mean() for night in (1.0, 0.1, 0.01, 1e-3))]
    assert all(np.diff(means) < -6)
    assert at(1e-3)[~window].mean() > 40 and at(1e-6).mean() == pytest.approx(means[-1], abs=1)
    assert at(1e-3)[window].mean() > 150  # what shines still does


def test_a_room_that_is_dark_already_is_not_darkened_twice() -> None:
    stops = np.full((200, 300), -9.0) + texture(200, 300, 0.4)
    stops[80:120, 120:200] = 4.0
    unknown = show(coloured(stops)).astype(float)
    candle = tonemap(coloured(stops), TonemapConfig("auto"), unit=500.0).astype(float)
    assert np.median(candle) == pytest.approx(np.median(unknown), abs=6)


def test_the_camera_tells_how_bright_the_scene_was(tmp_path: Path) -> None:
    pixels = coloured(interior()[0])
    sunny = CaptureSettings(exposure_time=1 / 125, f_number=16.0, iso=100.0)
    assert sunny.saturation_luminance == pytest.approx(38_400)  # white paper in the sun: 30 000
    night = CaptureSettings(exposure_time=8.0, f_number=2.8, iso=1600.0)
    means = []
    for settings in (None, sunny, CaptureSettings(exposure_time=8.0), night):
        write_picture(tmp_path / "a.png", pixels, TonemapConfig("auto"), settings=settings)
        means.append(cv2.imread(str(tmp_path / "a.png")).mean())
    assert means[0] == means[1] == means[2] > means[3] + 25


def test_blacks_are_not_lifted_to_grey() -> None:
    stops = texture(160, 240, 1.0)
    stops[:40, :60] = -14
    assert show(coloured(stops))[:30, :50].max() <= 4


@pytest.mark.parametrize("colour", [(0.95, 0.6, 0.45), (0.35, 0.6, 1.0), (0.3, 0.7, 0.2)])
def test_hues_of_skin_sky_and_grass_are_kept(colour: tuple[float, float, float]) -> None:
    stops = texture(120, 160, 0.8) + np.linspace(-3, 3, 160)
    linear = srgb_decode(show(coloured(stops, colour)) / np.float32(255))
    place = (sorted(colour)[1] - min(colour)) / (max(colour) - min(colour))
    order = np.argsort(colour)
    low, middle, high = (linear[:, :, k].astype(float) for k in order)
    sure = high - low > 0.08  # what is nearly white has no hue
    assert np.median(((middle - low) / np.maximum(high - low, 1e-6))[sure]) == pytest.approx(
        place, abs=0.03
    )


def test_sun_does_not_darken_the_landscape() -> None:
    stops = texture(200, 300, 1.0)
    plain = show(coloured(stops)).mean()
    stops[50:54, 70:74] = 16
    assert show(coloured(stops)).mean() == pytest.approx(plain, abs=4)


def test_brightness_detail_and_exposure() -> None:
    stops, window = interior()
    pixels = coloured(stops)
    plain = show(pixels).astype(float)
    assert show(pixels, brightness=150).mean() > plain.mean() + 20
    fine = (slice(150, 190), slice(20, 120))
    assert show(pixels, detail=2)[fine].std() > 1.2 * plain[fine].std()
    assert np.median(show(pixels, exposure=1)[~window]) > np.median(plain[~window]) + 15


def test_scores_above_global_operators() -> None:
    stops, _ = interior()
    pixels = coloured(stops, (1, 0.9, 0.7))
    scores = {
        name: tmqi(pixels, tonemap(pixels, TonemapConfig(name))).quality
        for name in ("auto", "reinhard2002", "exposure")
    }
    assert scores["auto"] > max(scores["reinhard2002"], scores["exposure"])


def test_the_size_of_the_picture_does_not_change_it() -> None:
    stops, _ = interior(200, 300)
    large = cv2.resize(stops, (1800, 1200), interpolation=cv2.INTER_CUBIC)
    small, reduced = show(coloured(stops)), show(coloured(large))
    reduced = cv2.resize(reduced, (300, 200), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - reduced).mean() < 5


def test_statistics_are_only_asked_for_the_exposure() -> None:
    from hdrmerge.tonemap.auto import auto

    picture, rows = np.exp2(interior()[0]).astype(np.float32), slice(0, 200)
    low = float(np.percentile(picture, 1))
    one = auto(picture, Statistics(low=low), brightness=112, detail=1)(picture, rows)
    twice = picture * 2
    two = auto(twice, Statistics(low=low * 2), brightness=112, detail=1)(twice, rows)
    np.testing.assert_allclose(one, two, atol=1e-3)
