"""The merge's compiled loops against the formulas they stand for, in numpy's double precision."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.fusion.merge_loops import fade_clipped, merge_planes, pack_half


def packed(values: np.ndarray) -> np.ndarray:
    planes = np.ascontiguousarray(values, np.float32)
    out = np.zeros((planes.shape[1] + 3, planes.shape[2] + 5, 3), np.float16)
    pack_half(planes, 2, 4, out.view(np.uint16).reshape(len(out), -1))
    assert not out[:2].any() and not out[:, :4].any() and not out[-1].any()  # nothing beside it
    return out[2:-1, 4:-1].transpose(2, 0, 1)


def test_halves_are_the_nearest() -> None:
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (every[:-1].astype(np.float64) + every[1:]) / 2  # ties: to even
    tiny = np.float32(1e-9)
    values = np.concatenate([every, between, between * (1 + 1e-6), between * (1 - 1e-6), [tiny]])
    values = np.resize(values.astype(np.float32), (3, 41, 1024))
    np.testing.assert_array_equal(packed(values), values.astype(np.float16))


def test_what_halves_cannot_hold_becomes_the_nearest_that_they_can() -> None:
    values = np.full((3, 1, 4), [[[-1.0, 70000.0, 65520.0, -0.0]]])
    assert packed(values)[0, 0].tolist() == [0, 65504, 65504, 0]


@pytest.mark.parametrize("shape", [(40, 37), (1, 9), (3, 2), (2, 1), (5, 3)])
def test_fading_is_that_of_the_mean_around_and_the_pixel_itself(shape: tuple[int, int]) -> None:
    brightest = np.random.default_rng(0).uniform(0.8, 1.0, shape).astype(np.float32)
    out = np.empty_like(brightest)
    limits = np.array([0.97, 1 / 0.07, 0.93, 1 / 0.08], np.float32)
    fade_clipped(brightest, limits, out)
    weights = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    weights /= weights.sum()
    around = brightest.astype(np.float64)
    for axis in (0, 1):
        mode = "edge" if shape[axis] == 1 else "reflect"
        padded = np.pad(around, [(2, 2) if a == axis else (0, 0) for a in (0, 1)], mode=mode)
        parts = [np.take(padded, range(i, i + shape[axis]), axis) for i in range(5)]
        around = sum(w * part for w, part in zip(weights, parts, strict=True))
    expected = np.minimum((0.97 - brightest) / 0.07, (0.93 - around) / 0.08).clip(0, 1)
    np.testing.assert_allclose(out, expected, atol=2e-5)


def test_the_mean_is_weighed_by_inverse_variance() -> None:
    rng = np.random.default_rng(1)
    frames, height, width = 4, 9, 50
    t = np.array([0.25, 1, 4, 9])
    noise = rng.uniform(1e-5, 1e-3, (frames, 3))
    samples = rng.uniform(-0.01, 1.0, (frames, 3, height + 4, width + 4))
    usable = rng.uniform(0, 1, (frames, height + 4, width + 4))
    trust = rng.choice([0.01, 0.3, 1.0], (frames, height, width))
    inside = np.full((frames, height + 4, 2), (0, width + 4))
    inside[1, :, 1] = 30
    inside[3, :, 0] = 40
    inside[2, 5] = (8, 8)
    out, coverage = (np.empty(s, np.float32) for s in ((3, height, width), (height, width)))
    clipped = merge_planes(
        samples.astype(np.float32),
        usable.astype(np.float32),
        trust.astype(np.float32),
        inside,
        (2, 3),
        t.astype(np.float32),
        noise.astype(np.float32),
        np.float32(0.05),
        np.float32(1e-4),
        out,
        coverage,
    )
    x = np.arange(width + 4)
    seen = (x >= inside[..., :1]) & (x < inside[..., 1:])
    at = np.s_[..., 2 : 2 + height, 3 : 3 + width]
    s, u, seen = samples[at], usable[at], seen[at]
    trusted = np.where(trust > 0.05, trust, 0) * seen
    w = trusted * u
    expected_coverage = np.maximum(trusted[0], w[1:].max(axis=0))
    w[0] = trusted[0] * np.maximum(u[0], 1e-4)
    time = t[:, None, None]
    exposed = (w * time).sum(axis=0) + 1e-20
    first = np.maximum((w[:, None] * s).sum(axis=0) / exposed, 0) * time[:, None]
    read, gain, curve = noise.T[:, :, None, None, None]
    certainty = w[:, None] * time[:, None] ** 2 / (read + gain * first + curve * first**2)
    expected = (certainty * s / time[:, None]).sum(axis=0) / (certainty.sum(axis=0) + 1e-20)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(coverage, expected_coverage, rtol=1e-5)
    assert clipped == np.count_nonzero((u * seen).max(axis=0) < 0.5)
