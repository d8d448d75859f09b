"""Exposures and response found in brackets of a known scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from hdrmerge.calibrate import Calibration, calibrate
from hdrmerge.comparison import GRID, make_pairs
from hdrmerge.config import MergeConfig
from hdrmerge.exposure import initial_stack
from hdrmerge.frames import CaptureSettings, Frame
from hdrmerge.response import Response
from hdrmerge.response_fit import fit_debevec, fit_response, load_prior, srgb_inverse
from hdrmerge.samples import sample_blocks

Curve = Callable[[np.ndarray], np.ndarray]
FULL_WELL, READ_NOISE = 6000.0, 4.0


def srgb(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


def s_curve(x: np.ndarray) -> np.ndarray:
    y = x ** (1 / 2.2)
    return 0.45 * y + 0.55 * y * y * (3 - 2 * y)


def naka_rushton(x: np.ndarray) -> np.ndarray:
    return 1.2872 * x**0.9 / (x**0.9 + 0.2872)


def filmic(x: np.ndarray) -> np.ndarray:
    y = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    return srgb(y / (2.54 / 3.16))


@lru_cache(maxsize=1)
def scene() -> np.ndarray:
    """Radiance (360, 540, 3) of ten stops, 1 = saturation of the shortest frame."""
    rng = np.random.default_rng(3)
    log = np.zeros((360, 540, 3))
    for size, amount in ((6, 2.2), (20, 0.8), (60, 0.3)):
        noise = rng.normal(size=(size, size * 3 // 2, 3)) * amount
        noise = 0.8 * noise.mean(axis=2, keepdims=True) + 0.2 * noise
        log += cv2.resize(noise, (540, 360), interpolation=cv2.INTER_CUBIC)
    log -= np.quantile(log, 0.998)
    return np.exp2(np.clip(log * 0.9, -10, 0.5))


def bracket(
    curve: Curve = srgb,
    stops: tuple[float, ...] = (-2, 0, 2),
    *,
    times: tuple[float | None, ...] | None = None,
    iso: tuple[float, ...] | None = None,
    moved: bool = False,
    full_well: float = FULL_WELL,
    quality: int = 95,
) -> list[Frame]:
    rng = np.random.default_rng(11)
    frames = []
    for k, stop in enumerate(stops):
        radiance = scene()
        if moved:
            radiance = radiance.copy()
            radiance[40:200, 60 + 90 * k : 190 + 90 * k] = radiance[180:340, 300:430] * 2
        light = radiance * 2.0 ** (stop - min(stops)) * full_well
        electrons = rng.poisson(light) + rng.normal(0, READ_NOISE, light.shape)
        codes = np.round(255 * curve(np.clip(electrons / full_well, 0, 1))).astype(np.uint8)
        data = cv2.imencode(".jpg", codes[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        codes = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
        time = times[k] if times else 2.0**stop / 60
        settings = CaptureSettings(exposure_time=time, iso=iso[k] if iso else None)
        frames.append(Frame(codes, "display", settings, Path(f"{k}.jpg")))
    return frames


def calibrated(frames: list[Frame], **options: object) -> Calibration:
    config = MergeConfig(**options)  # type: ignore[arg-type]
    return calibrate(initial_stack(frames, config)[0], config)


def steps(calibration: Calibration) -> np.ndarray:
    return np.diff(np.log2(calibration.stack.exposures))


def response_error(response: Response, curve: Curve) -> float:
    """Rms relative error over codes 24 to 244, the scale left free."""
    exposure = np.geomspace(1e-5, 1, 20_000)
    codes = np.arange(24, 245) / 255
    truth = np.interp(codes, curve(exposure), exposure)
    at = np.linspace(0, 1, len(response.curve))
    found = np.interp(codes, at, response.curve[:, 1])
    return float(np.std(np.log(found / truth)))


def test_a_clean_srgb_bracket_is_left_alone() -> None:
    result = calibrated(bracket(full_well=20_000))
    assert result.stack.response.name == "sRGB"
    assert result.source == "EXIF"
    np.testing.assert_array_equal(steps(result), [2, 2])
    assert result.measured_stops == pytest.approx(result.exif_stops, abs=0.02)
    assert not result.warnings


@pytest.mark.parametrize("curve", [s_curve, naka_rushton, filmic])
def test_an_unknown_response_is_found(curve: Curve) -> None:
    result = calibrated(bracket(curve))
    assert result.stack.response.name == "estimated"
    np.testing.assert_array_equal(steps(result), [2, 2])
    assert response_error(result.stack.response, curve) < 0.015
    assert response_error(Response.srgb(), curve) > 0.1


def test_motion_and_strong_compression_are_withstood() -> None:
    result = calibrated(bracket(s_curve, moved=True, quality=85))
    assert result.source == "EXIF"
    assert response_error(result.stack.response, s_curve) < 0.03


@pytest.mark.parametrize("stops", [(0, 3), (-3, 0, 3), (-2, -1, 0, 1, 2)])
def test_any_number_and_spacing(stops: tuple[float, ...]) -> None:
    result = calibrated(bracket(s_curve, stops, full_well=3000))
    np.testing.assert_array_equal(steps(result), np.diff(stops))
    assert response_error(result.stack.response, s_curve) < 0.03


def test_a_third_of_a_stop_in_exif_is_put_right() -> None:
    times = (1 / 240, 2 ** (1 / 3) / 60, 1 / 15)
    plain = calibrated(bracket(times=times))
    assert plain.source == "measured"
    assert any("EXIF is off" in warning for warning in plain.warnings)
    np.testing.assert_allclose(steps(plain), [2, 2], atol=0.02)
    curved = calibrated(bracket(s_curve, times=times))
    np.testing.assert_allclose(steps(curved), [2, 2], atol=0.05)
    assert response_error(curved.stack.response, s_curve) < 0.03


def displaced(frames: list[Frame], k: int, pixels: int) -> list[Frame]:
    """The bracket with frame ``k`` shifted, unknown to all, as when alignment has failed."""
    moved = [
        np.roll(f.pixels, pixels, axis=1) if i == k else f.pixels for i, f in enumerate(frames)
    ]
    return [replace(f, pixels=pixels) for f, pixels in zip(frames, moved, strict=True)]


@pytest.mark.parametrize("pixels", [5, 12])
def test_exif_wins_where_frames_are_not_aligned(pixels: int) -> None:
    stops = (-3.0, -1.5, 0.0, 1.5, 3.0)
    whole = calibrated(bracket(stops=stops))
    result = calibrated(displaced(bracket(stops=stops), 4, pixels))
    assert result.source == "EXIF"
    np.testing.assert_allclose(steps(result), 1.5)
    off, sure, unsure = (
        np.array(values, dtype=float)
        for values in (result.measured_stops, whole.measured_error, result.measured_error)
    )
    base = result.stack.reference
    off -= np.array(stops) - stops[base]
    assert np.abs(off[:4]).max() < 0.02 and abs(off[4]) < 3 * unsure[4]
    assert sure[:4].max() < 0.01 and unsure[4] > sure[4]


def test_a_wrong_step_is_measured_and_an_uncertain_one_is_left_to_exif() -> None:
    stops = (-3.0, -1.5, 0.0, 1.5, 3.0)
    said = (-3.0, -1.5, 0.3, 1.5, 3.0)
    frames = bracket(stops=stops, times=tuple(2.0**s / 60 for s in said))
    result = calibrated(displaced(frames, 4, 12))
    assert result.source == "measured"
    assert any("EXIF is off by 0.3" in w and "2.jpg" in w for w in result.warnings)
    np.testing.assert_allclose(steps(result)[:3], 1.5, atol=0.01)
    measured = result.measured_stops
    assert measured[4] is not None and measured[3] is not None
    off = measured[4] - measured[3] - 1.5
    assert abs(off) > 0.1 and abs(steps(result)[3] - 1.5) < 0.5 * abs(off)


@pytest.mark.parametrize("times", [(None,) * 3, (0.02,) * 3, (1 / 240, 1 / 60, None)])
def test_missing_or_constant_exif(times: tuple[float | None, ...]) -> None:
    result = calibrated(bracket(times=times))
    assert result.source == "measured"
    assert result.stack.response.name == "sRGB"
    np.testing.assert_allclose(steps(result), [2, 2], atol=0.02)


def test_without_exif_an_s_curve_is_known_up_to_its_exponent() -> None:
    result = calibrated(bracket(s_curve, times=(None,) * 3))
    found = steps(result)
    np.testing.assert_allclose(found, [2, 2], rtol=0.2)
    assert found[0] == pytest.approx(found[1], rel=0.03)
    exponent = found.mean() / 2  # the same pixels with other steps
    v = np.linspace(0, 1, 256)
    at = np.linspace(0, 1, len(result.stack.response.curve))
    curve = np.interp(v, at, result.stack.response.curve[:, 0]) ** (1 / exponent)
    curve[0], curve[-1] = 0, 1
    assert response_error(Response.shared("same gauge", curve), s_curve) < 0.03


def test_auto_iso_that_holds_the_brightness() -> None:
    recorded = calibrated(bracket(stops=(0, 0, 0), times=(0.01, 0.02, 0.04), iso=(400, 200, 100)))
    hidden = calibrated(bracket(stops=(0, 0, 0), times=(0.01, 0.02, 0.04)))
    for result in (recorded, hidden):
        np.testing.assert_allclose(steps(result), 0, atol=0.02)
        assert sum("Duplicate exposures" in warning for warning in result.warnings) == 2
    assert hidden.source == "measured"


def test_two_brackets_at_once_are_noticed() -> None:
    frames = bracket()
    other = [
        replace(f, pixels=f.pixels[::-1, ::-1].copy(), path=Path(f"z{f.path}")) for f in frames
    ]
    mixed = calibrated([*frames, *other])
    assert sum("two brackets?" in warning for warning in mixed.warnings) == 3
    twice = calibrated([*frames, *(replace(f, path=Path(f"z{f.path}")) for f in frames)])
    assert sum("Duplicate exposures" in warning for warning in twice.warnings) == 3


def test_what_people_say_is_obeyed() -> None:
    result = calibrated(bracket(s_curve), ev=(-1.5, 0.0, 1.5), response="srgb")
    assert result.source == "given"
    assert result.stack.response.name == "sRGB"
    np.testing.assert_allclose(steps(result), [1.5, 1.5])
    forced = calibrated(bracket(), response="estimate")
    assert forced.stack.response.name == "estimated"
    assert response_error(forced.stack.response, srgb) < 0.02


def test_linear_frames_have_ratios_only() -> None:
    rng = np.random.default_rng(5)
    frames = []
    for k, stop in enumerate((-2.1, 0.0, 2.0)):
        light = np.clip(scene() * 2.0 ** (stop + 2.1), 0, 1)
        light += rng.normal(0, 0.002, light.shape)
        codes = np.clip(np.round(512 + light * 15_000), 0, 65535).astype(np.uint16)
        settings = CaptureSettings(exposure_time=2.0 ** round(stop) / 60)
        frames.append(
            Frame(codes, "linear", settings, Path(f"{k}.dng"), black=512.0, white=15_512.0)
        )
    result = calibrated(frames)
    assert result.source == "measured"
    np.testing.assert_allclose(steps(result), [2.1, 2.0], atol=0.02)


def test_frames_that_share_nothing_keep_what_exif_says() -> None:
    flat = [np.full((64, 96, 3), value, np.uint8) for value in (0, 255)]
    frames = [
        Frame(codes, "display", CaptureSettings(exposure_time=2.0 ** (5 * k)), Path(f"{k}.jpg"))
        for k, codes in enumerate(flat)
    ]
    result = calibrated(frames)
    assert result.source == "EXIF"
    np.testing.assert_allclose(steps(result), [5])
    assert result.measured_stops == (None, None)


def test_shifted_frames_are_sampled_where_they_overlap() -> None:
    stack, _ = initial_stack(bracket(), MergeConfig())
    moved = np.array(stack.homographies)
    moved[0, 0, 2] = 40.5
    blocks = sample_blocks(stack.with_homographies(moved))
    whole = sample_blocks(stack)
    assert 0.9 < blocks.mean.shape[1] / whole.mean.shape[1] < 0.94
    assert blocks.variance.min() >= 0
    assert np.all(blocks.highest >= blocks.mean - 1e-6)


def test_the_prior_and_both_methods() -> None:
    prior = load_prior()
    assert np.all(np.linalg.eigvalsh(prior.precision) > 0)
    stack, _ = initial_stack(bracket(s_curve, (-2, -1, 0, 1, 2)), MergeConfig())
    log_exposure = np.log(stack.exposures)
    pairs = make_pairs(sample_blocks(stack), srgb_inverse(GRID), log_exposure)
    for fit, limit in (
        (fit_response(pairs, log_exposure), 0.015),
        (fit_debevec(pairs, log_exposure), 0.08),
    ):
        assert fit is not None
        assert np.all(np.diff(fit.curve) > 0)
        assert fit.curve[0] == 0 and fit.curve[-1] == 1
        assert response_error(Response.shared("fit", fit.curve), s_curve) < limit
