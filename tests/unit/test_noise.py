"""The noise of a bracket is measured on the bracket: compare with the noise that was put in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrmerge.frames import CaptureSettings, FloatArray, Frame
from hdrmerge.fusion.noise import NoiseModel, estimate_noise
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack


def smooth_scene(height: int = 192, width: int = 384) -> FloatArray:
    """Radiance that rises over five stops without texture."""
    ramp = 2.0 ** np.linspace(-4.5, 0.5, width)
    tint = np.array([1.0, 0.8, 0.6])
    return np.broadcast_to(ramp[None, :, None] * tint, (height, width, 3)).astype(np.float32)


def linear_stack(
    scene: FloatArray,
    full_well: float,
    read: float,
    seed: int = 0,
    iso: tuple[float | None, ...] = (None, None, None),
) -> ExposureStack:
    """16-bit linear frames at -2/0/+2 stops; a frame's ISO over 100 divides its full well."""
    rng = np.random.default_rng(seed)
    exposures = np.array([0.25, 1.0, 4.0])
    frames = []
    for exposure, sensitivity in zip(exposures, iso, strict=True):
        well = full_well / ((sensitivity or 100.0) / 100.0)
        electrons = rng.poisson(scene * exposure * well) + rng.normal(0, read, scene.shape)
        codes = np.clip(np.rint(1000 + electrons / well * 50000), 0, 51000).astype(np.uint16)
        settings = CaptureSettings(exposure_time=float(exposure), iso=sensitivity)
        frames.append(Frame(codes, "linear", settings, Path("x.dng"), black=1000, white=51000))
    eye = np.repeat(np.eye(3)[None], 3, axis=0)
    return ExposureStack(tuple(frames), exposures, Response.linear(), 1, eye)


def at(model: NoiseModel, levels: list[float], frame: int = 1) -> NDArray[np.float64]:
    return model.variance(np.array(levels, np.float32), frame).astype(np.float64)


LEVELS = [0.01, 0.05, 0.2, 0.7]


@pytest.mark.parametrize(("full_well", "read"), [(1500.0, 4.0), (20000.0, 6.0)])
def test_measured_noise_is_the_cameras(full_well: float, read: float) -> None:
    model = estimate_noise(linear_stack(smooth_scene(), full_well, read))
    true = np.array(LEVELS) / full_well + (read / full_well) ** 2
    assert np.all(np.abs(at(model, LEVELS) / true - 1) < 0.25)


def test_moving_things_and_texture_hardly_disturb_it() -> None:
    scene = smooth_scene()
    quiet = estimate_noise(linear_stack(scene, 3000, 4))
    stack = linear_stack(scene, 3000, 4)
    pixels = stack.frames[0].pixels.copy()
    pixels[40:75, 60:200] = 9000  # something in the short frame only
    pixels[100:140:7, 200:300] += 1500  # a texture that is nowhere else
    moved = replace(stack, frames=(replace(stack.frames[0], pixels=pixels), *stack.frames[1:]))
    ratio = at(estimate_noise(moved), LEVELS) / at(quiet, LEVELS)
    assert np.all((ratio > 0.7) & (ratio < 1.6))


def test_gain_follows_iso() -> None:
    model = estimate_noise(linear_stack(smooth_scene(), 8000, 3, iso=(100.0, 100.0, 400.0)))
    assert model.gain[2] / model.gain[1] == pytest.approx(4.0)
    assert 1 / 8000 * 0.75 < model.gain[1] < 1 / 8000 * 1.3


def test_averaging_divides_the_variance() -> None:
    model = estimate_noise(linear_stack(smooth_scene(), 3000, 4))
    reduced = model.averaged(model.pixels // 4)
    assert np.allclose(at(reduced, LEVELS), at(model, LEVELS) / 4, rtol=1e-5)
    assert model.averaged(model.pixels * 9).pixels == model.pixels * 9
    assert np.allclose(at(model.averaged(model.pixels * 9), LEVELS), at(model, LEVELS))


@pytest.mark.parametrize("size", [(1, 1), (5, 400), (400, 5), (8, 8)])
def test_tiny_frames_get_a_typical_camera(size: tuple[int, int]) -> None:
    scene = np.full((*size, 3), 0.2, np.float32)
    model = estimate_noise(linear_stack(scene, 3000, 4))
    assert np.all(np.isfinite(at(model, LEVELS))) and np.all(at(model, LEVELS) > 0)


def test_eight_bit_codes_put_a_floor_under_read_noise() -> None:
    scene = smooth_scene()
    response = Response.srgb()
    exposures = np.array([0.5, 1.0])
    frames = tuple(
        Frame(
            np.rint(response.encode(np.clip(scene * t, 0, 1).astype(np.float32)) * 255).astype(
                np.uint8
            ),
            "display",
            CaptureSettings(),
            Path("x.png"),
        )
        for t in exposures
    )
    stack = ExposureStack(frames, exposures, response, 1, np.repeat(np.eye(3)[None], 2, axis=0))
    model = estimate_noise(stack)
    step = 1 / 255 / 12.92
    assert model.step == pytest.approx(step, rel=0.02)
    assert np.all(model.read >= step**2 / 12 * 0.95)
