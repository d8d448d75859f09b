"""Area averages keep the picture's place: decisions made on a small picture fit the large one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hdrmerge.frames import CaptureSettings, Codes, Frame, whole_average


def averaged(pixels: Codes, max_pixels: int) -> Codes:
    frame = Frame(pixels, "display", CaptureSettings(), Path("a.jpg"))
    return frame.averaged(max_pixels).pixels


@pytest.mark.parametrize("shape", [(400, 600), (401, 599), (333, 334)])
@pytest.mark.parametrize("factor", [1.3, 2.0, 2.4, 3.46, 7.7])
def test_a_ramp_stays_in_place(shape: tuple[int, int], factor: float) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    small = averaged(np.dstack([x, y, x + y]), round(shape[0] * shape[1] / factor**2))
    size = small.shape[:2]
    assert size == pytest.approx((shape[0] / factor, shape[1] / factor), abs=0.6)
    v, u = np.mgrid[: size[0], : size[1]] + 0.5
    inner = np.s_[1:-1, 1:-1]
    for channel, expected in enumerate(
        (u * shape[1] / size[1] - 0.5, v * shape[0] / size[0] - 0.5)
    ):
        assert np.abs(small[..., channel] - expected)[inner].max() < 0.5  # of a large pixel
        assert np.abs(np.mean((small[..., channel] - expected)[inner])) < 0.05


def test_codes_are_rounded_without_bias() -> None:
    codes = np.random.default_rng(1).integers(0, 40, (700, 900, 3), dtype=np.uint8)
    small = averaged(codes, 202 * 260)
    assert small.dtype == np.uint8
    assert float(small.mean()) == pytest.approx(float(codes.mean()), abs=0.03)


@pytest.mark.parametrize("factor", [2, 3, 4, 16])
def test_whole_factors_are_rounded_to_the_nearest_and_to_even(factor: int) -> None:
    codes = np.random.default_rng(2).integers(0, 256, (100, 77, 3), dtype=np.uint8)
    codes[:50] = np.random.default_rng(3).integers(254, 256, (50, 77, 3))
    h, w = 100 // factor, 77 // factor
    squares = codes[: h * factor, : w * factor].reshape(h, factor, w, factor, 3)
    expected = np.rint(squares.mean(axis=(1, 3), dtype=np.float64))
    assert np.array_equal(whole_average(codes, factor), expected)


def test_small_frames_share_one_reduction() -> None:
    y, x = np.mgrid[:2400, :3000]
    pixels = np.dstack([x // 12, y // 10, (x + y) % 256]).astype(np.uint8)
    frame = Frame(pixels, "display", CaptureSettings(), Path("a.jpg"))
    small = frame.averaged(100_000)
    assert small.shape == (283, 354)
    assert frame.reduced(2) is frame.reduced(2)
    direct = cv2.resize(pixels, (354, 283), interpolation=cv2.INTER_AREA)
    assert np.abs(small.pixels[..., :2].astype(int) - direct[..., :2]).max() <= 1
