"""Metrics against values worked out by hand or published."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge import metrics


def _noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.01, 0.7, shape).astype(np.float32)


def test_mu_law_ends_and_middle() -> None:
    h = np.array([-1.0, 0.0, 0.01, 1.0, 7.0], np.float32)
    middle = np.log(51) / np.log(5001)
    assert np.allclose(metrics.mu_law(h), [0, 0, middle, 1, 1], atol=1e-6)


def test_psnr_of_a_constant_error() -> None:
    a = np.full((4, 4, 3), 0.5, np.float32)
    assert metrics.psnr_linear(a, a + np.float32(0.1)) == pytest.approx(20.0, abs=1e-4)
    assert metrics.psnr_linear(a, a) == float("inf")
    assert np.isnan(metrics.psnr_linear(a, a, np.zeros((4, 4), bool)))


def test_mask_picks_pixels() -> None:
    a, b = np.zeros((2, 4, 4, 3), np.float32)
    b[0] = 1.0
    top = np.zeros((4, 4), bool)
    top[0] = True
    assert metrics.psnr_mu(a, b, top) == pytest.approx(0.0)
    assert metrics.psnr_mu(a, b, ~top) == float("inf")


def test_radiance_beyond_the_shortest_frame_does_not_count() -> None:
    a, b = np.full((4, 4, 3), 1.5, np.float32), np.full((4, 4, 3), 90.0, np.float32)
    assert metrics.psnr_linear(a, b) == float("inf")


def test_pu21_is_published_shape() -> None:
    """Mantiuk & Azimi 2021: 0.005 cd/m2 is 0, 100 cd/m2 close to 256, 10000 close to 595."""
    codes = metrics.pu21(np.array([0.005, 100.0, 10000.0, 1e9], np.float32))
    assert codes[0] == pytest.approx(0, abs=0.05)
    assert codes[1] == pytest.approx(256, abs=1)
    assert codes[2] == codes[3] == pytest.approx(595.4, abs=0.5)
    assert np.all(np.diff(metrics.pu21(np.geomspace(0.01, 1e4, 99, dtype=np.float32))) > 0)


def test_ssim_is_one_for_equal_and_falls_with_noise() -> None:
    a = _noise((48, 48, 3))
    assert metrics.ssim_mu(a, a) == pytest.approx(1.0, abs=1e-5)
    small, large = (
        metrics.ssim_mu(a + s * np.random.default_rng(1).standard_normal(a.shape, np.float32), a)
        for s in (0.01, 0.1)
    )
    assert large < small < 1


def test_scale_is_undone_whatever_moves() -> None:
    truth = _noise((64, 64, 3))
    moved = truth * np.float32(3.7)
    moved[:20] = 0.6
    static = np.ones((64, 64), bool)
    static[:20] = False
    aligned = metrics.align_scale(moved, truth, static)
    assert np.allclose(aligned[20:], truth[20:], rtol=1e-4)


def test_colour_cast_is_the_ratio_of_channel_scales() -> None:
    truth = _noise((64, 64, 3))
    cast = truth * np.array([1.0, 1.1, 0.9], np.float32)
    assert metrics.colour_cast(cast, truth) == pytest.approx(1.1 / 0.9, rel=1e-4)
    assert metrics.colour_cast(truth * np.float32(5), truth) == pytest.approx(1.0, rel=1e-4)


def test_scale_of_a_scene_without_well_exposed_pixels() -> None:
    dark = np.full((8, 8, 3), 1e-4, np.float32)
    assert np.allclose(metrics.align_scale(dark * np.float32(2), dark), dark)
    black = np.zeros((8, 8, 3), np.float32)
    assert np.array_equal(metrics.align_scale(black, black), black)


def test_harm_rate_counts_static_pixels_only() -> None:
    truth = _noise((10, 10, 3))
    ours = truth.copy()
    ours[0] = 0.0
    static = np.ones((10, 10), bool)
    assert metrics.harm_rate(ours, truth, truth, static) == pytest.approx(0.1)
    static[0] = False
    assert metrics.harm_rate(ours, truth, truth, static) == 0.0


def test_score_of_each_region() -> None:
    truth = _noise((40, 40, 3))
    ours = truth.copy()
    ours[:10] += np.float32(0.1)
    top = np.zeros((40, 40), bool)
    top[:10] = True
    scores = metrics.score(ours, truth, {"all": top | True, "top": top, "none": top & False})
    assert scores["top"].psnr_linear == pytest.approx(20.0, abs=0.01)
    assert scores["all"].psnr_linear == pytest.approx(20.0 + 10 * np.log10(4), abs=0.01)
    assert scores["top"].share == 0.25 and np.isnan(scores["none"].psnr_mu)
    assert scores["top"].psnr_mu == pytest.approx(metrics.psnr_mu(ours, truth, top))
    shown = (metrics.pu21(np.clip(x, 0, 1) * np.float32(1000)) for x in (ours, truth))
    assert scores["all"].pu21 == pytest.approx(metrics.psnr(*shown, peak=256.0))
