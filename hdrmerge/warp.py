"""Sample a frame in the reference's geometry: the only place that interpolates pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray, Frame, Matrix

if TYPE_CHECKING:
    from hdrmerge.response import Response

_MARGIN = 4  # source pixels around a band that the interpolation kernel may touch


def valid_band(
    homography: Matrix, shape: tuple[int, int], start: int, stop: int, width: int
) -> NDArray[np.bool_]:
    """(stop - start, width) bool: which reference pixels of a band lie inside a frame of ``shape``.

    Exact, from the four border inequalities, each linear in x along a row: u >= -1/2,
    u <= W - 1/2 and the same for v, where (u, v) = homography (x, y).
    """
    height, frame_width = shape
    y = np.arange(start, stop, dtype=np.float64)[:, None]
    h = homography
    low = np.zeros(y.shape)
    high = np.full(y.shape, float(width - 1))
    borders = (
        h[0] + 0.5 * h[2],
        (frame_width - 0.5) * h[2] - h[0],
        h[1] + 0.5 * h[2],
        (height - 0.5) * h[2] - h[1],
        h[2],  # in front of the camera
    )
    for a, b, c in borders:  # a x + b y + c >= 0
        rest = b * y + c
        if a > 0:
            low = np.maximum(low, -rest / a)
        elif a < 0:
            high = np.minimum(high, -rest / a)
        else:
            high = np.where(rest >= 0, high, -1.0)
    x = np.arange(width, dtype=np.float64)
    return (x >= low) & (x <= high)


def warp_band(
    frame: Frame, response: Response, homography: Matrix, start: int, stop: int
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Rows ``start:stop`` of the reference's pixel grid, sampled from ``frame`` and linearised.

    Returns linear values (h, W, 3) float32 with 0 = black level and 1 = the frame's saturation,
    and a mask (h, W) of the pixels that lie inside the frame; values outside are 0. The identity
    copies rows without interpolation.
    """
    height, width = frame.shape
    if np.array_equal(homography, np.eye(3)):
        linear = response.linearise(frame, frame.pixels[start:stop])
        return linear, np.ones(linear.shape[:2], np.bool_)
    import cv2

    valid = valid_band(homography, frame.shape, start, stop, width)
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if not rows.size:
        return np.zeros((stop - start, width, 3), np.float32), valid
    box = np.array(
        [[x, y, 1.0] for x in columns[[0, -1]] for y in start + rows[[0, -1]]], dtype=np.float64
    )
    mapped = box @ homography.T
    u, v = mapped[:, 0] / mapped[:, 2], mapped[:, 1] / mapped[:, 2]
    x0, x1 = (int(np.clip(e, 0, width)) for e in (u.min() - _MARGIN, u.max() + _MARGIN + 1))
    y0, y1 = (int(np.clip(e, 0, height)) for e in (v.min() - _MARGIN, v.max() + _MARGIN + 1))
    to_source = np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]])
    from_band = np.array([[1.0, 0, 0], [0, 1, start], [0, 0, 1]])
    warped = cv2.warpPerspective(
        frame.pixels[y0:y1, x0:x1].astype(np.float32),
        to_source @ homography @ from_band,
        (width, stop - start),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    linear = response.linearise(frame, warped)
    linear[~valid] = 0.0
    return linear, valid
