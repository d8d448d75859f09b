"""Leaves and water: fine texture that moves a little everywhere, where the reference clips.

Pixel by pixel the frames contradict each other there, all of them, as moving things would; but in
the mean over a small window they agree, and as much of each is dark. One shorter frame shows such
a place as well as another, and better than any fill: the longest one that does not clip is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray

_ENOUGH = np.float32(0.2)  # of the best exposure: a frame of less light shows noise, not leaves
_RESTLESS, _SAME = 0.08, 0.2  # of the mean: least difference of pixels, most of means
_PAIRS = 3  # of neighbouring exposures that must all contradict each other
_WINDOW = 25  # pixels of the proxy over which the frames must agree
_BRIGHT = 0.8  # of the reference's mean that the shorter frame's must reach, both cut at saturation
_DARK = 0.9  # of saturation: below, a pixel is a dark one
_DARKER = (1.5, 0.05)  # most that is dark in the shorter frame: so many times, and so much more


def restored(
    exposures: NDArray[np.float64],
    reference: int,
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
) -> FloatArray:
    """``trust`` (N, h, w) with one frame trusted where swaying things are lost.

    ``linear`` (h, w, 3) and ``below`` (h, w), of each frame: its values, and how surely they are
    below saturation.
    """
    import cv2

    if reference <= _PAIRS:
        return trust  # too few frames to tell swaying from going
    clips = below[reference] < 0.5
    shown, could = np.zeros((2, *clips.shape), np.float32)
    for k in range(reference):
        t = np.float32(exposures[k])
        np.maximum(shown, t * (trust[k] * below[k] > 0.5), out=shown)
        np.maximum(could, t * (below[k] > 0.5), out=could)
    lost = clips & (shown < _ENOUGH * could)
    if not lost.any():
        return trust
    size = (_WINDOW, _WINDOW)

    def seen(k: int) -> tuple[FloatArray, FloatArray]:
        """Window means of what the reference could have seen of frame k, and of what is dark."""
        value = np.minimum(linear[k].max(axis=2) / np.float32(exposures[k]), 1.0)
        dark = (value < _DARK).astype(np.float32)
        return np.asarray(cv2.blur(value, size)), np.asarray(cv2.blur(dark, size))

    own, own_dark = seen(reference)
    trust = trust.copy()
    for k in range(reference - 1, -1, -1):
        here = lost & (below[k] > 0.5)
        if not here.any():
            continue
        if k < _PAIRS:
            break
        value, dark = seen(k)
        times, more = _DARKER
        alike = here & (value >= _BRIGHT * own) & (dark <= times * own_dark + np.float32(more))
        radiance = [linear[j] / np.float32(exposures[j]) for j in range(k, k - _PAIRS - 1, -1)]
        for longer, shorter in pairwise(radiance):
            alike &= _restless(longer, shorter)
        lost &= ~here  # a shorter frame would add noise, and another moment
        soft = cv2.GaussianBlur(alike.astype(np.float32), (0, 0), 1.0)
        trust[k] = np.maximum(trust[k], soft)
    return trust


def _restless(a: FloatArray, b: FloatArray) -> NDArray[np.bool_]:
    """Where two frames' radiance (h, w, 3) agrees in the mean over a window and in no pixel."""
    import cv2

    size = (_WINDOW, _WINDOW)
    a, b = a.mean(axis=2), b.mean(axis=2)
    mean_a, mean_b = cv2.blur(a, size), cv2.blur(b, size)
    level = np.maximum(mean_a, mean_b)
    moved = cv2.blur(np.abs(a - b), size) > _RESTLESS * level
    return np.asarray(moved & (np.abs(mean_a - mean_b) < _SAME * level))
