"""What is made up where the reference clips follows what is known around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdrmerge.frames import CaptureSettings, FloatArray, Frame
from hdrmerge.fusion.fill import fill_clipped
from hdrmerge.fusion.radiometric import unclipped
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack


def fill_of(scene: FloatArray, trust: FloatArray, stops: tuple[float, ...]) -> FloatArray | None:
    """The fill for a noiseless linear bracket of ``scene``, short frames first."""
    exposures = 2.0 ** np.array(stops)
    frames = tuple(
        Frame(
            np.minimum(scene * np.float32(t), 1).astype(np.float32),
            "linear",
            CaptureSettings(),
            Path("x.tif"),
        )
        for t in exposures
    )
    eye = np.repeat(np.eye(3)[None], len(stops), axis=0)
    stack = ExposureStack(frames, exposures, Response.linear(), stops.index(0.0), eye)
    linear = [stack.linear(k)[0] for k in range(len(stack))]
    return fill_clipped(stack, linear, [unclipped(x) for x in linear], trust)


def test_a_gap_in_the_sky_is_filled_with_sky() -> None:
    scene = np.zeros((64, 96, 3), np.float32) + np.array([3.0, 4.0, 5.0], np.float32)
    trust = np.ones((2, 64, 96), np.float32)
    trust[0, 20:40, 30:60] = 0
    fill = fill_of(scene, trust, (-3.0, 0.0))
    assert fill is not None
    assert fill.shape == scene.shape
    assert np.allclose(fill, scene, rtol=1e-3)


def test_the_nearest_light_counts() -> None:
    scene = np.full((64, 256, 3), 2.0, np.float32)
    scene[:, 128:] = 6.0
    trust = np.ones((2, 64, 256), np.float32)
    trust[0, 20:40, 30:50] = trust[0, 20:40, 200:220] = 0
    fill = fill_of(scene, trust, (-3.0, 0.0))
    assert fill is not None
    assert np.allclose(fill[30, 40], 2.0, rtol=0.1)
    assert np.allclose(fill[30, 210], 6.0, rtol=0.1)


def test_nothing_tells_without_a_shorter_frame_or_light() -> None:
    scene = np.full((16, 16, 3), 3.0, np.float32)
    assert fill_of(scene, np.ones((2, 16, 16), np.float32), (0.0, 3.0)) is None
    dark = np.full((16, 16, 3), 0.2, np.float32)
    assert fill_of(dark, np.ones((2, 16, 16), np.float32), (-3.0, 0.0)) is None
