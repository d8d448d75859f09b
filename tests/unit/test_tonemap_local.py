"""Local operators: what their equations say of pictures whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from hdrmerge.tonemap.bilateral import bilateral
from hdrmerge.tonemap.edge_aware import Enlarged, guided_coefficients, log_luminance, reduced
from hdrmerge.tonemap.fattal2002 import _attenuation, _divergence, solve_poisson
from hdrmerge.tonemap.mantiuk2006 import _contrasts, _gather, _solve, _transducer, mantiuk2006
from hdrmerge.tonemap.mertens2007 import _shares
from hdrmerge.tonemap.operators import OPERATORS, find_operator
from hdrmerge.tonemap.record import Operator
from hdrmerge.tonemap.scene import Statistics, measure

LOCAL = [name for name, operator in OPERATORS.items() if operator.kind != "curve"]


def scene_of(picture: np.ndarray) -> Statistics:
    luminance = picture if picture.ndim == 2 else picture @ np.float32([0.2126, 0.7152, 0.0722])
    return measure(luminance)


def apply(name: str, picture: np.ndarray, **given: float) -> np.ndarray:
    operator = find_operator(name)
    if operator.takes == "rgb":
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    shown = run(operator, picture.copy(), scene_of(picture), **operator.complete(given))
    return shown if shown.ndim == 2 else shown[:, :, 1]


def run(operator: Operator, picture: np.ndarray, scene: Statistics, **given: Any) -> np.ndarray:
    """The whole picture, of operators of either kind."""
    shown = operator.load()(picture, scene, **given)
    return shown(picture, slice(0, len(picture))) if operator.kind == "local" else shown


def room_with_window(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A textured room and a window eight stops brighter; where the window is."""
    rng = np.random.default_rng(3)
    texture = cv2.GaussianBlur(rng.normal(0, 0.6, (height, width)), (0, 0), 1.5)
    window = np.zeros((height, width), bool)
    window[30:80, 90:140] = True
    return np.exp2(texture + np.where(window, 3.0, -5.0)).astype(np.float32), window


# --- what they share


@pytest.mark.parametrize(("height", "width"), [(40, 60), (37, 53), (1, 9), (9, 1), (1, 1)])
def test_enlarging_by_bands_is_linear_interpolation(height: int, width: int) -> None:
    ramp = np.add.outer(np.arange(height) * 2.0, np.arange(width) * 3.0).astype(np.float32)
    small = reduced(ramp, max(1, ramp.size // 9))
    enlarged = Enlarged(small, height, width)
    whole = enlarged[slice(0, height)]
    np.testing.assert_array_equal(
        np.vstack([enlarged[slice(y, y + 1)] for y in range(height)]), whole
    )
    expected = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(whole, expected.reshape(height, width), atol=1e-3)


def test_guided_filter_smooths_texture_and_keeps_edges() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(0, 0.1, (80, 80)).astype(np.float32)
    plane[:, 40:] += 8
    a, b = guided_coefficients(plane, 6, 1.0)
    smooth = a * plane + b
    assert smooth[20:60, 10:25].std() < 0.2 * plane[20:60, 10:25].std()
    step = smooth[20:60, 40].mean() - smooth[20:60, 39].mean()
    assert step == pytest.approx(8, rel=0.1)


def test_log_luminance_of_black_is_finite_and_lowest() -> None:
    picture = np.full((20, 20), 4.0, np.float32)
    picture[0, 0] = 0
    logs = log_luminance(picture)
    assert logs[1, 1] == pytest.approx(math.log(4))
    assert np.isfinite(logs).all()
    assert logs[0, 0] < math.log(4) - 10 * math.log(2) + 1e-3


# --- the bilateral filter


def brute_bilateral(plane: np.ndarray, space: float, values: float) -> np.ndarray:
    radius = math.ceil(3 * space)
    padded = np.pad(plane, radius, mode="edge").astype(np.float64)
    total, weights = np.zeros(plane.shape), np.zeros(plane.shape)
    height, width = plane.shape
    for y in range(-radius, radius + 1):
        for x in range(-radius, radius + 1):
            other = padded[radius + y :, radius + x :][:height, :width]
            near = np.exp(-(x * x + y * y) / (2 * space**2))
            weight = near * np.exp(-((other - plane) ** 2) / (2 * values**2))
            total += weight * other
            weights += weight
    return total / weights


@pytest.mark.parametrize("space", [2.0, 6.0])
def test_bilateral_is_the_definition(space: float) -> None:
    rng = np.random.default_rng(1)
    plane = cv2.GaussianBlur(rng.normal(0, 2, (60, 80)), (0, 0), 2).astype(np.float32)
    plane[:, 50:] += 4
    found, expected = bilateral(plane, space, 0.4), brute_bilateral(plane, space, 0.4)
    # piecewise linear in the value: exact at the knots, within a small part of sigma between
    assert np.abs(found - expected).mean() < 0.03
    assert np.percentile(np.abs(found - expected), 99) < 0.16


def test_durand_spans_the_contrast_asked_for() -> None:
    picture, window = room_with_window()
    smooth = np.where(window, 8.0, 1 / 32).astype(np.float32)
    shown = apply("durand2002", smooth, contrast=20.0)
    inside, outside = shown[45:65, 105:125].mean(), shown[90:110, 20:70].mean()
    assert inside / outside == pytest.approx(20, rel=0.02)
    assert inside == pytest.approx(1, rel=0.02)
    textured = apply("durand2002", picture, contrast=20.0)
    kept = np.std(np.log(textured[90:110, 20:70])) / np.std(np.log(picture[90:110, 20:70]))
    assert kept > 0.75  # detail is not compressed


# --- Fattal


def test_poisson_solution_has_the_laplacian_it_was_given() -> None:
    rng = np.random.default_rng(2)
    # 120 x 96 needs no extension: the solution is exact up to rounding
    truth = cv2.GaussianBlur(rng.normal(0, 3, (96, 120)), (0, 0), 2).astype(np.float32)
    across = np.diff(np.pad(truth, ((0, 0), (1, 1)), mode="edge"), axis=1)
    down = np.diff(np.pad(truth, ((1, 1), (0, 0)), mode="edge"), axis=0)
    found = solve_poisson(np.diff(across, axis=1) + np.diff(down, axis=0))
    np.testing.assert_allclose(found - found.mean(), truth - truth.mean(), atol=1e-3)


@pytest.mark.parametrize("shape", [(96, 150), (91, 153)])
def test_fattal_with_beta_1_keeps_the_picture(shape: tuple[int, int]) -> None:
    picture, _ = room_with_window(*shape)
    shown = apply("fattal2002", picture, beta=1.0, gamma=1.0)
    inside = (shown > 0) & (shown < 1)
    line = np.polyfit(picture[inside], shown[inside], 1)
    fit = np.polyval(line, picture[inside])
    assert np.abs(fit - shown[inside]).max() < 0.02


def test_fattal_lowers_the_step_more_than_the_texture() -> None:
    picture, window = room_with_window()
    logs = np.log(picture)
    solved = solve_poisson(_divergence(logs, _attenuation(logs, 1.0, 0.9, 0.001, 0)))

    def step(plane: np.ndarray) -> float:
        return float(np.median(plane[window]) - np.median(plane[~window]))

    def texture(plane: np.ndarray) -> float:
        return float(np.diff(plane[90:110, 20:70]).std())

    assert texture(solved) / texture(logs) > 1.15 * step(solved) / step(logs)
    # where Phi is 1 nothing changes
    same = solve_poisson(_divergence(logs, np.ones_like(logs)))
    np.testing.assert_allclose(same - same.mean(), logs - logs.mean(), atol=0.02)


# --- Mantiuk 2006


def test_gathering_is_the_transpose_of_taking_contrasts() -> None:
    rng = np.random.default_rng(4)
    plane = rng.normal(size=(32, 48)).astype(np.float32)
    contrasts = _contrasts(plane, 3)
    other = [(rng.normal(size=a.shape), rng.normal(size=d.shape)) for a, d in contrasts]
    left = sum(
        4**k * (np.vdot(a, u) + np.vdot(d, v))
        for k, ((a, d), (u, v)) in enumerate(zip(contrasts, other, strict=True))
    )
    gathered = _gather([(u.astype(np.float32), v.astype(np.float32)) for u, v in other])
    assert np.vdot(plane, gathered) == pytest.approx(left, rel=1e-4)


def test_mantiuk_with_factor_1_keeps_the_picture() -> None:
    picture, _ = room_with_window()
    logs = np.log10(picture)
    solved = _solve(logs, 1.0, 0.0)
    difference = (solved - logs) - (solved - logs).mean()
    assert np.abs(difference).max() < 0.02


def test_transducer_is_that_of_the_reference_implementation() -> None:
    # pfstmo's table: contrasts W after 20, 50 and 66 just noticed steps
    contrast, response = _transducer()
    for steps, weber in ((20, 0.355), (50, 6.24), (66, 35.5)):
        assert np.interp(math.log10(1 + weber), contrast, response) == pytest.approx(steps, abs=0.5)


def test_mantiuk_fills_the_display_and_small_contrasts_gain() -> None:
    picture, window = room_with_window()
    shown = apply("mantiuk2006", picture)
    low, high = np.percentile(np.log10(shown), (0.1, 99.9))
    assert high == pytest.approx(0, abs=0.01)
    assert high - low == pytest.approx(2.3, abs=0.01)
    texture = np.std(np.log(shown[90:110, 20:70])) / np.std(np.log(picture[90:110, 20:70]))
    step = np.median(np.log(shown[window])) - np.median(np.log(shown[~window]))
    assert texture > 1.3 * step / (8 * math.log(2))
    assert not np.allclose(apply("mantiuk2006", picture, equalize=0.5), shown)


def test_mantiuk_reduced_follows_the_full_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, (24, 32)).astype(np.float32)
    picture = np.exp2(3 * cv2.resize(noise, (384, 288), interpolation=cv2.INTER_CUBIC))
    full = mantiuk2006(picture, scene_of(picture), factor=0.3, equalize=0.0)
    monkeypatch.setattr("hdrmerge.tonemap.mantiuk2006._PIXELS", picture.size // 9)
    less = mantiuk2006(picture, scene_of(picture), factor=0.3, equalize=0.0)
    stops = np.log2(less / full)
    assert np.abs(stops - np.median(stops)).mean() < 0.16


# --- Mertens


def test_weights_of_exposures_are_the_paper_s_and_sum_to_one() -> None:
    rng = np.random.default_rng(6)
    encoded = rng.uniform(0, 2, (9, 11, 3)).astype(np.float32)
    gains = [np.float32(g) for g in (0.3, 0.7, 1.5)]
    planes = [np.ascontiguousarray(encoded[:, :, c]) for c in range(3)]
    found = np.array(_shares(planes, gains, (1.0, 1.0, 1.0, 0.2)))
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    weights = []
    for gain in gains:
        shown = np.minimum(encoded * gain, 1)
        grey = np.pad(shown.mean(axis=2), 1, mode="edge")
        laplacian = np.abs(
            grey[2:, 1:-1]
            + grey[:-2, 1:-1]
            + grey[1:-1, 2:]
            + grey[1:-1, :-2]
            - 4 * grey[1:-1, 1:-1]
        )
        exposed = np.exp(-((shown - 0.5) ** 2) / (2 * 0.2**2)).prod(axis=2)
        weights.append((laplacian * shown.std(axis=2) + 1e-6) * exposed + 1e-12)
    expected = np.array(weights) / np.sum(weights, axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_fusion_shows_room_and_window() -> None:
    picture, window = room_with_window()
    shown = apply("mertens2007", picture)
    assert 0.05 < np.median(shown[~window]) < 0.6
    assert 0.2 < np.median(shown[window]) < 0.95


# --- all of them


# Reinhard's are scaled by the scene's statistics, as test_tonemap.py tests
@pytest.mark.parametrize("name", [n for n in LOCAL if not n.startswith("reinhard")])
def test_scale_of_the_scene_does_not_matter(name: str) -> None:
    picture, _ = room_with_window()
    np.testing.assert_allclose(apply(name, picture * 64), apply(name, picture), atol=2e-3)


@pytest.mark.parametrize("name", [n for n in LOCAL if not n.startswith("reinhard")])
def test_exposure_brightens(name: str) -> None:
    picture, window = room_with_window()
    operator = find_operator(name)
    given = np.repeat(picture[:, :, None], 3, axis=2) if operator.takes == "rgb" else picture
    plain = run(operator, given.copy(), scene_of(given), **operator.complete({}))
    brighter = replace(scene_of(given), exposure=2.0)
    bright = run(operator, given * 2, brighter, **operator.complete({}))
    assert np.median(bright[~window]) > 1.25 * np.median(plain[~window])


@pytest.mark.parametrize("name", LOCAL)
def test_bands_do_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = room_with_window()
    whole = apply(name, picture)
    monkeypatch.setattr("hdrmerge.tonemap.bands.BAND", 7 * picture.shape[1])
    np.testing.assert_allclose(apply(name, picture), whole, atol=1e-5)


@pytest.mark.parametrize("name", LOCAL)
def test_what_is_given_stays(name: str) -> None:
    picture, _ = room_with_window()
    operator = find_operator(name)
    given = np.repeat(picture[:, :, None], 3, axis=2) if operator.takes == "rgb" else picture
    before = given.copy()
    run(operator, given, scene_of(given), **operator.complete({}))
    np.testing.assert_array_equal(given, before)
