"""Sampling through a homography: exact where it can be, honest about borders and clipping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hdrmerge.frames import CaptureSettings, Frame
from hdrmerge.response import Response
from hdrmerge.warp import columns_inside, mask_of, pixels_of, warp_planes

TURN = np.array([[0.9996, -0.0171, 9.3], [0.0173, 0.9995, -6.7], [3e-6, -5e-6, 1.0]])


def warp_band(
    f: Frame, response: Response, homography: np.ndarray, start: int, stop: int, **more: bool
) -> tuple[np.ndarray, np.ndarray]:
    width = f.shape[1]
    planes, inside = warp_planes(f, response, homography, (start, stop), (0, width), **more)
    return pixels_of(planes), mask_of(inside, width)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return np.stack([0.4 + 0.2 * np.sin(x / 9 + c) * np.cos(y / 11 - c) for c in range(3)], axis=-1)


def frame(pixels: np.ndarray, **more: object) -> Frame:
    encoding = more.pop("encoding", "display")
    return Frame(pixels, encoding, CaptureSettings(), Path("frame.jpg"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_identity_copies(dtype: type) -> None:
    full = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    f = frame((smooth(40, 50) * full).astype(dtype))
    linear, valid = warp_band(f, Response.srgb(), np.eye(3), 7, 31)
    np.testing.assert_array_equal(linear, Response.srgb().linearise(f, f.pixels[7:31]))
    assert valid.all()


def test_bands_are_parts_of_the_whole() -> None:
    f = frame((smooth(120, 150) * 255).astype(np.uint8))
    whole, valid = warp_band(f, Response.srgb(), TURN, 0, 120)
    bands = [warp_band(f, Response.srgb(), TURN, a, a + 40) for a in (0, 40, 80)]
    np.testing.assert_array_equal(np.concatenate([b[1] for b in bands]), valid)
    np.testing.assert_allclose(np.concatenate([b[0] for b in bands]), whole, atol=2e-3)


def test_whole_pixels_move_unchanged() -> None:
    rng = np.random.default_rng(1)
    f = frame(rng.integers(0, 250, (60, 70, 3), dtype=np.uint8))
    shift = np.array([[1.0, 0, 4], [0, 1, -3], [0, 0, 1]])
    linear, valid = warp_band(f, Response.srgb(), shift, 0, 60)
    expected = Response.srgb().linearise(f, f.pixels)
    np.testing.assert_allclose(linear[3:, :-4], expected[:-3, 4:], atol=1e-6)
    assert valid[3:, :-4].all() and not valid[:3].any() and not valid[:, -4:].any()
    assert not linear[~valid].any()


def test_between_pixels_the_picture_is_kept() -> None:
    response = Response.srgb()
    y, x = np.mgrid[:100, :120].astype(np.float64)
    u, v, w = np.tensordot(TURN, np.stack([x, y, np.ones_like(x)]), axes=1)
    there = 0.4 + 0.2 * np.sin(u / w / 9) * np.cos(v / w / 11)
    pixels = np.repeat((smooth(100, 120)[..., :1] * 65535).round().astype(np.uint16), 3, axis=2)
    linear, valid = warp_band(frame(pixels), response, TURN, 0, 100)
    codes = response.encode(linear)[..., 0]
    error = np.abs(codes - there)
    inside = valid & (u / w > 1) & (u / w < 118) & (v / w > 1) & (v / w < 98)
    assert error[inside].max() < 2e-3  # 0.1 px of the steepest slope
    assert error[valid].max() < 2e-2  # the frame's own border is repeated


def test_linear_frames_keep_their_noise_about_black() -> None:
    rng = np.random.default_rng(2)
    pixels = (600 + 20 * rng.standard_normal((200, 200, 3))).astype(np.uint16)
    f = frame(pixels, encoding="linear", black=600, white=16000)
    linear, valid = warp_band(f, Response.linear(), TURN, 0, 200)
    truth = float(f.fraction(pixels).mean())
    assert linear[valid].min() < 0
    assert abs(float(linear[valid].mean()) - truth) < 1e-4


def test_the_blend_of_a_lamp_and_the_night_counts_as_clipped() -> None:
    pixels = np.full((40, 40, 3), 20, np.uint8)
    pixels[10:20, 10:20, 0] = 255  # a red lamp
    half = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    linear, _ = warp_band(frame(pixels), Response.srgb(), half, 0, 40)
    assert np.all(linear[9:20, 9:20, 0] >= 1)  # all that touch it
    assert np.all(linear[:8, :, 0] < 0.1) and np.all(linear[22:, :, 0] < 0.1)
    assert np.all(linear[..., 1:] < 0.1)  # the other channels are measured
    blend, _ = warp_band(frame(pixels), Response.srgb(), half, 0, 40, mark_clipped=False)
    edge = blend[9:20, 9, 0]
    assert np.all((edge > 0.1) & (edge < 0.9))  # for want of a shorter frame


@pytest.mark.parametrize(
    "homography",
    [
        TURN,
        np.linalg.inv(TURN),
        np.array([[1.0, 0, 300], [0, 1, 0], [0, 0, 1]]),
        np.array([[-1.0, 0, 79], [0, -1, 59], [0, 0, 1]]),
        np.array([[1.0, 0, 0], [0, 1, 0], [0.02, 0, 1]]),
    ],
)
def test_valid_is_where_the_frame_is(homography: np.ndarray) -> None:
    y, x = np.mgrid[10:60, :80].astype(np.float64)
    u, v, w = np.tensordot(homography, np.stack([x, y, np.ones_like(x)]), axes=1)
    u, v = u / w, v / w
    expected = (w > 0) & (u >= -0.5) & (u <= 79.5) & (v >= -0.5) & (v <= 59.5)
    lower = homography @ np.array([[1.0, 0, 0], [0, 1, 10], [0, 0, 1]])
    inside = columns_inside(lower, (60, 80), (50, 80))
    found = mask_of(inside, 80)
    assert np.count_nonzero(found != expected) <= 2  # rounding on the border itself
    f = frame((smooth(60, 80) * 255).astype(np.uint8))
    linear, valid = warp_band(f, Response.srgb(), homography, 10, 60)
    assert np.isfinite(linear).all() and not linear[~valid].any()
