"""Fine texture that moves in what the reference clips is shown by one frame; things are not."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.fusion.swaying import restored

SIZE = 120
EXPOSURES = np.array([1 / 128, 1 / 64, 1 / 32, 1 / 8, 1.0])
OWN = 4  # the reference


def leaves(seed: int) -> FloatArray:
    """Radiance of bright leaves with dark gaps of a few pixels, (S, S, 3); 1 = saturation."""
    import cv2

    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), 0.8)
    return np.repeat(np.where(noise > -0.12, 4.0, 0.5)[..., None], 3, 2).astype(np.float32)


def seen(moments: list[FloatArray]) -> tuple[list[FloatArray], list[FloatArray]]:
    linear = [np.minimum(m * np.float32(t), 1) for m, t in zip(moments, EXPOSURES, strict=True)]
    return linear, [(x.max(axis=2) < 0.95).astype(np.float32) for x in linear]


def test_leaves_are_shown_by_the_longest_frame_that_does_not_clip() -> None:
    linear, below = seen([leaves(i) for i in range(5)])
    trust = np.zeros((5, SIZE, SIZE), np.float32)
    trust[OWN] = 1
    result = restored(EXPOSURES, OWN, linear, below, trust)
    clips = below[OWN] < 0.5
    assert np.mean(result[3][clips] > 0.5) > 0.8
    assert result[:3].max() == 0
    np.testing.assert_array_equal(result[OWN], trust[OWN])


def test_noise_of_the_shortest_frame_is_not_what_leaves_look_like() -> None:
    linear, below = seen([leaves(i) for i in range(5)])
    trust = np.ones((5, SIZE, SIZE), np.float32)
    trust[1:OWN] = 0
    result = restored(EXPOSURES, OWN, linear, below, trust)
    assert np.mean(result[3][below[OWN] < 0.5] > 0.5) > 0.8


def test_a_dark_thing_before_something_bright_stays_out() -> None:
    bright = np.full((SIZE, SIZE, 3), 4.0, np.float32)
    thing = bright.copy()
    thing[30:90, 50:70] = 0.1
    linear, below = seen([thing] * 4 + [bright])
    trust = np.ones((5, SIZE, SIZE), np.float32)
    trust[:OWN, 30:90, 50:70] = 0
    np.testing.assert_array_equal(restored(EXPOSURES, OWN, linear, below, trust), trust)


def test_what_left_the_reference_s_place_does_not_come_back_as_leaves() -> None:
    """Two shorter frames that agree show what was behind a thing, not leaves that sway."""
    linear, below = seen([leaves(1), leaves(2), leaves(7), leaves(7), leaves(3)])
    trust = np.zeros((5, SIZE, SIZE), np.float32)
    trust[OWN] = 1
    np.testing.assert_array_equal(restored(EXPOSURES, OWN, linear, below, trust), trust)


def test_what_is_shown_already_is_left_alone() -> None:
    linear, below = seen([leaves(1)] * 5)
    trust = np.ones((5, SIZE, SIZE), np.float32)
    assert restored(EXPOSURES, OWN, linear, below, trust) is trust
