"""What the reference clips is brought back from where a shorter frame shows it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hdrmerge.frames import CaptureSettings, FloatArray, Frame
from hdrmerge.fusion.displaced import borrow
from hdrmerge.fusion.displaced_loops import best_steps
from hdrmerge.fusion.radiometric import unclipped
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack

HEIGHT, WIDTH = 240, 320
START, SIDE = (80, 90), 64  # where the thing is in the reference, and how large


def thing() -> FloatArray:
    """Radiance (SIDE, SIDE, 3) of a bright textured thing, between 1.3 and 3.9."""
    texture = np.random.default_rng(2).random((8, 8)).astype(np.float32)
    smooth = cv2.resize(texture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    level = 1.3 * 3.0 ** np.clip(smooth, 0.0, 1.0)
    return np.asarray(level[..., None] * np.array([1.0, 0.95, 0.9]), np.float32)


def moment(x: int, y: int) -> FloatArray:
    """A dim textured wall with the thing at (x, y); its outline has a corner cut away."""
    rng = np.random.default_rng(3)
    wall = 0.05 + 0.1 * cv2.GaussianBlur(rng.random((HEIGHT, WIDTH, 3)), (0, 0), 2.0)
    scene = wall.astype(np.float32)
    part = scene[y : y + SIDE, x : x + SIDE]
    shape = np.ones((SIDE, SIDE), np.bool_)
    shape[: SIDE // 2, : SIDE // 3] = False
    part[shape] = thing()[shape]
    return scene


def bracket(dx: int, dy: int) -> tuple[ExposureStack, list[FloatArray], FloatArray, FloatArray]:
    """A noiseless -3/0 bracket in which the thing moved by (dx, dy) in the short frame; linear
    values, the trust of a perfect judge, the reference's radiance."""
    x, y = START
    moments = (moment(x + dx, y + dy), moment(x, y))
    exposures = np.array([0.125, 1.0])
    frames = tuple(
        Frame(np.minimum(m * np.float32(t), 1.0), "linear", CaptureSettings(), Path("x.tif"))
        for m, t in zip(moments, exposures, strict=True)
    )
    eye = np.repeat(np.eye(3)[None], 2, axis=0)
    stack = ExposureStack(frames, exposures, Response.linear(), 1, eye)
    trust = np.ones((2, HEIGHT, WIDTH), np.float32)
    trust[0] = np.isclose(*moments).all(axis=2)
    return stack, [stack.linear(k)[0] for k in range(2)], trust, moments[1]


def lost_error(fill: FloatArray, truth: FloatArray) -> float:
    """Mean error in stops well inside of what the reference clips."""
    inside = cv2.erode((truth.min(axis=2) > 1.0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return float(np.abs(np.log2(fill[inside] / truth[inside])).mean())


@pytest.mark.parametrize("step", [(40, 0), (-36, 24), (9, 52), (-64, 5)])
def test_a_thing_that_moved_is_found_and_brought_back(step: tuple[int, int]) -> None:
    stack, linear, trust, truth = bracket(*step)
    below = [unclipped(x) for x in linear]
    flat = np.full(truth.shape, 1.5, np.float32)
    fill = borrow(stack, linear, below, trust, flat)
    assert lost_error(flat, truth) > 0.3
    assert lost_error(fill, truth) < 0.12


def test_what_shows_nowhere_stays_as_it_was() -> None:
    """The thing is in the reference alone: nothing that looks like it is to be found."""
    stack, linear, trust, truth = bracket(40, 0)
    gone = cv2.GaussianBlur(linear[0], (0, 0), 1.0)
    gone[:] = np.float32(0.1 * 0.125)
    trust[0] = truth.max(axis=2) < 1.0
    flat = np.full(truth.shape, 1.5, np.float32)
    fill = borrow(stack, [gone, linear[1]], [unclipped(gone), unclipped(linear[1])], trust, flat)
    assert np.allclose(fill, flat, rtol=1e-5)


def test_it_is_never_darker_than_what_the_reference_clips() -> None:
    stack, linear, trust, truth = bracket(-36, 24)
    fill = borrow(stack, linear, [unclipped(x) for x in linear], trust, np.ones_like(truth))
    assert float(fill.min()) >= 1.0 - 1e-5


def test_nothing_lost_nothing_sought() -> None:
    stack, linear, trust, truth = bracket(40, 0)
    fill = np.full(truth.shape, 2.0, np.float32)
    kept = borrow(stack, linear, [unclipped(x) for x in linear], np.ones_like(trust), fill)
    assert kept is fill


@pytest.mark.parametrize(("height", "width"), [(17, 23), (4, 9), (1, 30)])
def test_the_best_step_is_the_one_most_votes_agree_on(height: int, width: int) -> None:
    """Every step's share by the formula, written out; the kernel keeps the best of each cell."""
    rng = np.random.default_rng(7)
    seen, there = rng.random((2, 3, height, width))
    free = rng.random((height, width))
    votes = rng.random((height, width)) * (rng.random((height, width)) < 0.4)
    scales = rng.uniform(0.5, 30.0, (3, height, width))
    start = rng.integers(-2, 3, (2, height, width))
    windows, most, alike, stay = (1, 2, 6), 2, 0.4, 1e-3
    y, x = np.mgrid[:height, :width]
    each = range(-most, most + 1)
    steps = [(dx, dy) for dy in each for dx in each]
    shares = []
    for dx, dy in steps:
        u, v = x + start[0] + dx, y + start[1] + dy
        inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
        u, v = u.clip(0, width - 1), v.clip(0, height - 1)
        differs = np.abs(seen - there[:, v, u]).mean(axis=0) / alike
        match = np.maximum(1 - differs, 0) * free[v, u] * votes * inside
        means = [cv2.blur(match, (2 * r + 1, 2 * r + 1)) for r in windows]
        shares.append((np.stack(means) * scales).sum(axis=0) - stay * (dx**2 + dy**2))
    chosen = np.argmax(shares, axis=0)
    moved, best = start.copy(), np.empty((height, width), np.float32)
    single = (image.astype(np.float32) for image in (seen, there, free, votes, scales))
    best_steps(*single, windows, moved, most, np.float32(alike), np.float32(stay), best)
    assert np.allclose(best, np.max(shares, axis=0), rtol=1e-5, atol=1e-4)
    assert np.array_equal(moved - start, np.array(steps)[chosen].transpose(2, 0, 1))
