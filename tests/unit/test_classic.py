"""Classical deghosting on brackets whose motion is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrmerge.frames import CaptureSettings, FloatArray, Frame
from hdrmerge.fusion.classic import decide
from hdrmerge.fusion.noise import estimate_noise
from hdrmerge.fusion.radiometric import fuse
from hdrmerge.metrics import psnr_mu
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack

HEIGHT, WIDTH = 240, 320


def landscape(seed: int = 0) -> FloatArray:
    """A textured scene, dark below and beyond the reference's saturation (1) above."""
    import cv2

    rng = np.random.default_rng(seed)
    texture = sum(
        cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), s) * s
        for s in (1.0, 3.0, 9.0)
    )
    ramp = np.linspace(2.2, -5.0, HEIGHT)[:, None] + 0.5 * texture
    return (2.0 ** ramp[..., None] * np.array([0.9, 1.0, 1.1])).astype(np.float32)


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((xx - x) ** 2 + (yy - y) ** 2 < radius**2)


def photograph(
    moments: Sequence[FloatArray], stops: Sequence[float], full_well: float = 1500.0
) -> ExposureStack:
    """8-bit sRGB frames of a noisy camera, the reference at 0 stops."""
    rng = np.random.default_rng(5)
    response = Response.srgb()
    frames = []
    for moment, stop in zip(moments, stops, strict=True):
        exposure = moment * np.float32(2.0**stop)
        electrons = rng.poisson(np.minimum(exposure, 8) * full_well)
        noisy = (electrons + rng.normal(0, 4, exposure.shape)) / full_well
        codes = np.rint(response.encode(np.clip(noisy, 0, 1).astype(np.float32)) * 255)
        frames.append(
            Frame(codes.astype(np.uint8), "display", CaptureSettings(), Path(f"{stop}.png"))
        )
    eye = np.repeat(np.eye(3)[None], len(frames), axis=0)
    reference = list(stops).index(0)
    return ExposureStack(tuple(frames), 2.0 ** np.array(stops), response, reference, eye)


def with_disc(
    level: float, radius: float = 22, y: float = 150, step: float = 60
) -> Callable[[int], FloatArray]:
    """The scene at moment k, a plain disc of ``level`` passing from left to right."""

    def moment(k: int) -> FloatArray:
        scene = landscape()
        scene[disc(80 + step * k, y, radius)] = level
        return scene

    return moment


@pytest.mark.parametrize("stops", [(-3, 0, 3), (-2, 0, 2), (-5, 0, 1), (0, 3), (-4, -2, 0, 2, 4)])
def test_static_bracket_loses_nothing(stops: tuple[float, ...]) -> None:
    scene = landscape()
    stack = photograph([scene] * len(stops), stops)
    noise = estimate_noise(stack)
    decisions = decide(stack, noise)
    assert np.mean(decisions.trust < 0.5) < 0.002
    scale = np.float32(2.0 ** min(stops))
    plain = fuse(stack, None, noise).radiance.pixels * scale
    fused = fuse(stack, decisions, noise).radiance.pixels * scale
    assert psnr_mu(fused, scene * scale) > psnr_mu(plain, scene * scale) - 0.1


@pytest.mark.parametrize("level", [0.02, 0.6, 4.0])
def test_what_moved_is_rejected_and_nothing_else(level: float) -> None:
    moment = with_disc(level)
    stack = photograph([moment(k) for k in range(3)], (-3, 0, 3))
    trust = decide(stack, estimate_noise(stack)).trust
    assert np.all(trust[1] == 1)
    truth = moment(1)
    still = ~(disc(80, 150, 32) | disc(140, 150, 32) | disc(200, 150, 32))
    for k in (0, 2):
        ghost = disc(80 + 60 * k, 150, 19) | disc(140, 150, 19)
        other = moment(k)
        limit = min(1.0, 1.0 / stack.exposures[k])  # beyond it one of the two only says "bright"
        differs = np.abs(np.minimum(other, limit) - np.minimum(truth, limit)).max(axis=2)
        visible = ghost & (differs > 0.3 * np.minimum(truth, limit).max(axis=2) + 0.01)
        if level == 0.02 or k == 0:
            assert np.mean(trust[k][visible] < 0.1) > 0.97
        else:  # the long frame clips at both places: nothing tells, nothing is lost
            assert not visible.any()
        assert np.mean(trust[k][still] > 0.9) > 0.995


def test_dark_thing_before_the_clipped_sky_leaves_no_ghost() -> None:
    moment = with_disc(0.05, y=35, radius=16)
    stack = photograph([moment(k) for k in range(3)], (-3, 0, 3))
    noise = estimate_noise(stack)
    decisions = decide(stack, noise)
    merged = fuse(stack, decisions, noise).radiance.pixels
    was_there = disc(80, 35, 15)  # sky in the reference, the thing in the short frame
    assert merged[was_there].min() > 0.9
    assert decisions.fill is not None
    sky = moment(1)[disc(80, 35, 15)].mean()
    assert merged[was_there].mean() == pytest.approx(sky, rel=0.3)  # filled from around


def test_bright_thing_is_filled_with_its_own_light() -> None:
    moment = with_disc(5.0, y=200)
    stack = photograph([moment(k) for k in range(2)], (-3, 0))
    noise = estimate_noise(stack)
    merged = fuse(stack, decide(stack, noise), noise).radiance.pixels
    assert 2.5 < np.median(merged[disc(140, 200, 18)]) < 5.5  # the clipped value is 1
    assert np.median(merged[disc(80, 200, 18)]) < 0.2


def test_misalignment_of_a_pixel_and_exposure_errors_are_no_motion() -> None:
    scene = landscape()
    stack = photograph([np.roll(scene, 1, axis=1), scene, scene], (-3, 0, 3))
    wrong = stack.exposures * np.array([1.04, 1.0, 0.96])
    stack = ExposureStack(stack.frames, wrong, stack.response, 1, stack.homographies)
    trust = decide(stack, estimate_noise(stack)).trust
    assert np.mean(trust[:, :, 2:] < 0.5) < 0.02


def test_what_a_frame_does_not_see_has_no_trust_and_spreads_no_doubt() -> None:
    scene = landscape()
    stack = photograph([np.roll(scene, 40, axis=1), scene, scene], (-3, 0, 3))
    homographies = stack.homographies.copy()
    homographies[0, 0, 2] = 40.0
    trust = decide(stack.with_homographies(homographies), estimate_noise(stack)).trust[0]
    assert np.all(trust[:, -39:] == 0)
    assert np.mean(trust[:, :-44] > 0.9) > 0.99


def test_proxy_noise_is_the_averaged_noise() -> None:
    moment = with_disc(0.6)
    stack = photograph([moment(k) for k in range(3)], (-3, 0, 3))
    proxy = stack.proxy(HEIGHT * WIDTH // 4)
    decisions = decide(proxy, estimate_noise(stack))
    assert decisions.trust.shape == (3, *proxy.shape)
    assert (
        np.mean(decisions.trust[0][150 // 2 - 8 : 150 // 2 + 8, 80 // 2 - 8 : 80 // 2 + 8]) < 0.05
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 1), (7, 9)])
def test_any_size(size: tuple[int, int]) -> None:
    scene = np.full((*size, 3), 0.3, np.float32)
    stack = photograph([scene] * 3, (-3, 0, 3))
    decisions = decide(stack, estimate_noise(stack))
    assert decisions.trust.shape == (3, *size)
    assert np.all(np.isfinite(decisions.trust))
    assert np.all(np.isfinite(fuse(stack, decisions, estimate_noise(stack)).radiance.pixels))


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = with_disc(0.6)
    stack = photograph([moment(k) for k in range(3)], (-3, 0, 3))
    noise = estimate_noise(stack)
    banded = decide(stack, noise).trust
    monkeypatch.setattr("hdrmerge.fusion.classic._BAND", 10_000)
    assert np.allclose(decide(stack, noise).trust, banded, atol=1e-4)


def test_what_only_a_very_long_frame_can_tell_from_white_is_a_ghost() -> None:
    """Ten stops up nothing but a shadow that walked by is not clipped: it must not count, though
    it differs from the reference by no more than a step of its codes in the dark."""
    ground = landscape() * 0.2 + np.float32(0.01)
    shadow = disc(160, 120, 22)
    passing = ground.copy()
    passing[shadow] = 0.0002
    stops = (-2.0, 0.0, 2.0, 10.5)
    stack = photograph([ground, ground, ground, passing], stops)
    noise = estimate_noise(stack)
    trust = decide(stack, noise).trust
    assert trust[3][disc(160, 120, 19)].max() < 0.05
    merged = fuse(stack, decide(stack, noise), noise).radiance.pixels
    ratio = merged[shadow].mean() / ground[shadow].mean()
    assert ratio == pytest.approx(1, abs=0.03)


def fading(scene: FloatArray) -> FloatArray:
    """As cameras show clipping colours: what exceeds saturation in one channel whitens the rest."""
    brightest = scene.max(axis=2, keepdims=True)
    share = np.clip(np.log2(np.maximum(brightest, 0.9) / 0.9) / 1.5, 0, 1)
    return np.asarray(scene + 0.65 * share * np.maximum(1 - scene, 0), dtype=np.float32)


def test_a_sunset_is_kept_where_cameras_let_its_colours_fade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    glow = 2.0 ** (2.2 - np.hypot(xx - 160, yy - 60) / 60)[..., None]
    scene = np.maximum(landscape(), glow * np.array([1.0, 0.55, 0.25])).astype(np.float32)
    stack = photograph([scene * 0.25, fading(scene)], (0.0, 0.0))
    stack = replace(stack, exposures=np.array([0.25, 1.0]), reference=1)
    noise = estimate_noise(stack)
    around = disc(160, 60, 100)
    assert np.mean(decide(stack, noise).trust[0][around] < 0.5) < 0.02
    monkeypatch.setattr("hdrmerge.fusion.classic._MOST_FADED", 0.0)
    assert np.mean(decide(stack, noise).trust[0][around] < 0.5) > 0.1  # else nothing is tested
