"""The explicit merge: what a known scene was photographed with comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdrmerge.frames import CaptureSettings, Decisions, FloatArray, Frame
from hdrmerge.fusion.noise import NoiseModel
from hdrmerge.fusion.radiometric import fuse, unclipped
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack

NOISE = NoiseModel(
    read=np.full(5, 7e-6), gain=np.full(5, 1 / 1500), curve=0.0, step=1e-4, pixels=10_000
)


def photograph(
    scene: FloatArray,
    exposures: Sequence[float],
    reference: int,
    full_well: float = 0.0,
    read: float = 0.0,
    **frame: Any,
) -> ExposureStack:
    """Linear float frames of ``scene`` that saturate at 1; noisy where a full well is given."""
    rng = np.random.default_rng(1)
    frames = []
    for exposure in exposures:
        x = scene * np.float32(exposure)
        if full_well:
            x = (rng.poisson(x * full_well) + rng.normal(0, read, x.shape)) / full_well
        pixels = np.minimum(x, 1.0).astype(np.float32)
        frames.append(Frame(pixels, "linear", CaptureSettings(), Path("x.tif"), **frame))
    n = len(exposures)
    eye = np.repeat(np.eye(3)[None], n, axis=0)
    ratios = np.asarray(exposures, np.float64) / exposures[reference]
    return ExposureStack(tuple(frames), ratios, Response.linear(), reference, eye)


def ramp(height: int = 40, width: int = 60, low: float = 0.002, high: float = 7.0) -> FloatArray:
    """Radiance over many stops; the reference saturates at 1."""
    values = np.geomspace(low, high, height * width).reshape(height, width, 1)
    return (values * np.array([1.0, 0.9, 0.7])).astype(np.float32)


def trusting(stack: ExposureStack, value: float = 1.0, **more: Any) -> Decisions:
    trust = np.full((len(stack), *stack.shape), value, np.float32)
    trust[stack.reference] = 1
    return Decisions(trust=trust, **more)


def test_noiseless_bracket_gives_the_scene_back() -> None:
    scene = ramp()
    fused = fuse(photograph(scene, (1 / 8, 1, 8), 1), None, NOISE)
    assert np.allclose(fused.radiance.pixels, scene, rtol=1e-4)
    assert fused.clipped_everywhere == 0
    assert fused.filled == 0


def test_noise_is_nearly_that_of_the_best_possible_mean() -> None:
    scene = np.full((120, 200, 3), 0.02, np.float32)
    exposures, full_well, read = (1 / 8, 1.0, 8.0), 1500.0, 4.0
    merged = fuse(photograph(scene, exposures, 1, full_well, read), None, NOISE).radiance.pixels
    information = sum(t * t / (0.02 * t / full_well + (read / full_well) ** 2) for t in exposures)
    assert np.std(merged) < 1.03 / information**0.5
    assert abs(np.mean(merged) - 0.02) < 2e-4


@pytest.mark.parametrize("level", [0.97, 1.0, 1.03, 1.3])
def test_noise_at_saturation_does_not_darken(level: float) -> None:
    scene = np.full((80, 80, 3), level / 8, np.float32)  # the long frame is about to clip
    merged = fuse(photograph(scene, (1 / 8, 1, 8), 1, 1500, 4), None, NOISE).radiance.pixels
    assert np.mean(merged) == pytest.approx(level / 8, rel=0.01)


def test_short_frames_noise_floor_does_not_lift_the_darks() -> None:
    scene = np.full((60, 60, 3), 0.003, np.float32)
    stack = photograph(scene, (1 / 8, 1, 8), 1, 1500, 4)
    cut = [replace(f, pixels=np.maximum(f.pixels, 0)) for f in stack.frames]  # as a camera does
    merged = fuse(replace(stack, frames=tuple(cut)), None, NOISE).radiance.pixels
    assert np.mean(merged) == pytest.approx(0.003, rel=0.05)


def test_shortest_frame_keeps_the_highlights_and_clipping_is_counted() -> None:
    scene = np.full((20, 30, 3), 3.0, np.float32)
    scene[:, :10] = 50.0
    fused = fuse(photograph(scene, (1 / 8, 1, 8), 1), None, NOISE)
    assert np.allclose(fused.radiance.pixels[:, :10], 8.0)  # all that is known: at least so much
    assert np.allclose(fused.radiance.pixels[:, 13:], 3.0, rtol=1e-4)
    assert fused.clipped_everywhere == pytest.approx(1 / 3, abs=0.05)


def test_clipped_everywhere_is_neutral_after_white_balance_and_matrix() -> None:
    matrix = np.array([[1.6, -0.4, -0.2], [-0.2, 1.5, -0.3], [0.0, -0.5, 1.5]])
    scene = np.full((24, 30, 3), 100.0, np.float32)
    scene[:, 15:] = np.array([0.9, 1.8, 1.2])  # grey under the light of this balance
    stack = photograph(scene, (0.25, 1, 4), 1, white_balance=(2.0, 1.0, 1.5), to_rec709=matrix)
    fused = fuse(stack, None, NOISE).radiance.pixels
    assert np.ptp(fused, axis=2).max() < 1e-3
    assert np.allclose(fused[:, 20:], 1.8, rtol=1e-3)
    assert fused[:, :12].min() >= 4.0


def test_saturated_colour_is_not_bleached() -> None:
    scene = np.zeros((16, 16, 3), np.float32) + np.array([9.0, 0.8, 0.2], np.float32)
    fused = fuse(photograph(scene, (0.25, 1, 4), 1), None, NOISE).radiance.pixels
    assert np.allclose(fused, [4.0, 0.8, 0.2], rtol=1e-3)


def test_negative_values_average_out_but_never_leave() -> None:
    scene = np.zeros((60, 60, 3), np.float32)
    merged = fuse(photograph(scene, (1, 4), 0, 1500, 4), None, NOISE).radiance.pixels
    assert merged.min() >= 0
    assert np.mean(merged) < 0.5 * np.sqrt(7e-6) / 4


def test_ghosts_never_enter_where_the_reference_clips() -> None:
    scene = np.full((32, 32, 3), 3.0, np.float32)
    stack = photograph(scene, (1 / 8, 1, 8), 1)
    dark = np.full_like(scene, 0.001)  # in the short frame something dark stands there
    frames = (replace(stack.frames[0], pixels=dark), *stack.frames[1:])
    stack = replace(stack, frames=frames)
    merged = fuse(stack, trusting(stack, 0.0), NOISE).radiance.pixels
    assert np.allclose(merged, 1.0)


def test_a_hundredth_of_trust_does_not_let_a_long_exposure_win() -> None:
    stack = photograph(np.full((8, 9, 3), 4.0, np.float32), (1 / 8, 1, 8), 1)
    dark = replace(stack.frames[2], pixels=np.full((8, 9, 3), 0.02, np.float32))  # a ghost
    stack = replace(stack, frames=(*stack.frames[:2], dark))
    decisions = trusting(stack)
    decisions.trust[2] = 0.01
    assert np.allclose(fuse(stack, decisions, NOISE).radiance.pixels, 4.0, rtol=1e-3)


def test_trust_fades_from_the_mean_to_the_reference() -> None:
    scene = np.full((16, 16, 3), 3.0, np.float32)
    stack = photograph(scene, (1 / 8, 1, 8), 1)
    levels = [0.0, 0.1, 0.25, 0.4, 0.5, 1.0]
    merged = [float(fuse(stack, trusting(stack, v), NOISE).radiance.pixels.mean()) for v in levels]
    assert merged[0] == pytest.approx(1.0)
    assert merged[-2:] == pytest.approx([3.0, 3.0], rel=1e-4)
    assert np.all(np.diff(merged) >= -1e-4)


def test_fill_enters_where_nothing_is_trusted_and_never_darkens() -> None:
    scene = np.full((16, 32, 3), 3.0, np.float32)
    scene[:, 16:] = 0.5  # not clipped in the reference
    stack = photograph(scene, (1 / 8, 1, 8), 1)
    fill = np.full((16, 32, 3), 2.5, np.float32)
    fill[:8] = 0.2
    weight = np.ones((16, 32), np.float32)
    fused = fuse(stack, trusting(stack, 0.0, fill=fill, fill_weight=weight), NOISE)
    merged = fused.radiance.pixels
    assert np.allclose(merged[8:, :12], 2.5)
    assert np.allclose(merged[:8, :12], 1.0)
    assert np.allclose(merged[:, 20:], 0.5, rtol=1e-3)
    assert fused.filled == pytest.approx(0.5, abs=0.07)


def test_fill_keeps_the_channels_that_do_not_clip() -> None:
    scene = np.zeros((8, 8, 3), np.float32) + np.array([3.0, 0.4, 0.1], np.float32)
    stack = photograph(scene, (1 / 8, 1, 8), 1)
    white = np.full((8, 8, 3), 6.0, np.float32)
    merged = fuse(stack, trusting(stack, 0.0, fill=white), NOISE).radiance.pixels
    assert np.allclose(merged, [1.0, 0.4, 0.1], atol=1e-3)


def test_proxy_decisions_are_resampled_without_a_shift() -> None:
    scene = np.full((64, 96, 3), 3.0, np.float32)
    stack = photograph(scene, (1 / 8, 1, 8), 1)
    trust = np.ones((3, 16, 24), np.float32)
    trust[[0, 2], :, 12:] = 0
    merged = fuse(stack, Decisions(trust=trust), NOISE).radiance.pixels[..., 1]
    left, right = merged[:, :44], merged[:, 52:]
    assert np.allclose(left, 3.0, rtol=1e-3) and np.allclose(right, 1.0)
    assert np.allclose(merged, merged[:1])


def test_bands_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    scene = rng.uniform(0.0, 6.0, (70, 50, 3)).astype(np.float32)
    stack = photograph(scene, (1 / 8, 1, 8), 1, 1500, 4)
    decisions = Decisions(trust=rng.uniform(0, 1, (3, 35, 25)).astype(np.float32))
    whole = fuse(stack, decisions, NOISE)
    monkeypatch.setattr("hdrmerge.fusion.radiometric._TILE", (16, 17))
    banded = fuse(stack, decisions, NOISE)
    assert np.allclose(whole.radiance.pixels, banded.radiance.pixels, rtol=1e-5, atol=1e-6)
    assert whole.clipped_everywhere == banded.clipped_everywhere


def test_frames_that_do_not_see_a_pixel_have_no_say() -> None:
    scene = ramp(40, 60, 0.01, 0.5)
    stack = photograph(scene, (0.5, 1, 2), 1)
    shift = np.array([[1.0, 0, 25], [0, 1, 0], [0, 0, 1]])
    homographies = stack.homographies.copy()
    homographies[2] = shift
    moved = np.roll(stack.frames[2].pixels, 25, axis=1)
    frames = (*stack.frames[:2], replace(stack.frames[2], pixels=moved))
    merged = fuse(replace(stack, frames=frames, homographies=homographies), None, NOISE)
    inner = np.s_[2:-2, 2:-2]
    assert np.allclose(merged.radiance.pixels[inner], scene[inner], rtol=0.02)


def test_progress_ends_at_one() -> None:
    told: list[tuple[str, float]] = []
    fuse(photograph(ramp(), (1, 4), 0), None, NOISE, progress=lambda s, f: told.append((s, f)))
    assert told[-1] == ("fuse", 1.0)


def test_unclipped_sees_through_noise() -> None:
    rng = np.random.default_rng(2)
    sky = np.minimum(1.0 + rng.normal(0, 0.026, (60, 60, 1)), 1.0)
    clipped = np.repeat(sky, 3, axis=2).astype(np.float32)
    assert unclipped(clipped).max() == 0
    assert unclipped(clipped * np.float32(0.75)).min() == 1


def test_a_demosaiced_sample_beside_a_clipped_one_counts_less_unless_dark() -> None:
    row = np.repeat(np.array([0.05, 0.05, 0.5, 1.0, 1.0, 1.0], np.float32)[None, :, None], 3, 2)
    linear = np.repeat(row, 6, axis=0)
    beside = unclipped(linear, demosaiced=True)
    assert beside[3, 2] == 0
    assert beside[3, :2].min() == 1
    assert unclipped(linear)[3, 2] > 0
