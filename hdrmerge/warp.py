"""Sample a frame in the reference's geometry: the only place that interpolates pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import Codes, FloatArray, Frame, Matrix
from hdrmerge.response import Response, look_up

CLIPPED = 0.97  # linear; codes this close to full scale may be clipped light behind JPEG and noise
_TOE = 0.002  # added before square roots: read noise about black keeps its sign
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
    if low.max() <= 0 and high.min() >= width - 1:
        return np.ones((stop - start, width), np.bool_)
    x = np.arange(width, dtype=np.float64)
    return (x >= low) & (x <= high)


def warp_band(
    frame: Frame,
    response: Response,
    homography: Matrix,
    start: int,
    stop: int,
    columns: tuple[int, int] | None = None,
    *,
    mark_clipped: bool = True,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Rows ``start:stop`` of the reference's pixel grid, sampled from ``frame`` and linearised.

    ``columns`` (first, end) picks a part of the rows (None = all).

    Returns linear values (h, W, 3) float32 with 0 = black level and 1 = the frame's saturation,
    and a mask (h, W) of the pixels that lie inside the frame; values outside are 0. With
    ``mark_clipped`` a channel that touches a clipped sample is reported as clipped (>= 1), so that
    a merge never mistakes the blend of a lamp and its surroundings for light that was measured;
    the shortest frame does without, since its blend is the best that is known. The identity copies
    rows without interpolation.
    """
    left, right = columns or (0, frame.shape[1])
    if np.array_equal(homography, np.eye(3)):
        linear = response.linearise(frame, frame.pixels[start:stop, left:right])
        return linear, np.ones(linear.shape[:2], np.bool_)
    import cv2

    width = right - left
    to_reference = np.array([[1.0, 0, left], [0, 1, start], [0, 0, 1]])
    homography = homography @ to_reference
    valid = valid_band(homography, frame.shape, 0, stop - start, width)
    box = _source_box(homography, valid, frame.shape)
    if box is None:
        return np.zeros((stop - start, width, 3), np.float32), valid
    x0, x1, y0, y1 = box
    root = _root(frame, response, frame.pixels[y0:y1, x0:x1])
    matrix = np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]]) @ homography
    size = (width, stop - start)

    def sample(image: NDArray[Any], kernel: int) -> NDArray[Any]:
        flags = kernel | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REPLICATE
        return np.asarray(cv2.warpPerspective(image, matrix, size, flags=flags, borderMode=border))

    linear = sample(root, cv2.INTER_CUBIC)
    np.square(linear, out=linear)
    linear -= np.float32(_TOE)
    clipped = (root >= np.float32((CLIPPED + _TOE) ** 0.5)).view(np.uint8)
    if mark_clipped and clipped.any():
        clipped *= np.uint8(255)  # so that the least touch of a bilinear sample stays above 0
        touched = sample(clipped, cv2.INTER_LINEAR) > 0
        np.maximum(linear, touched, out=linear, dtype=np.float32)
    if not valid.all():
        linear[~valid] = 0.0
    return linear, valid


def _source_box(
    homography: Matrix, valid: NDArray[np.bool_], shape: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The part x0:x1, y0:y1 of the frame that the valid pixels of a band are interpolated from."""
    rows, columns = (np.arange(n) for n in valid.shape)
    if not valid.all():  # as it mostly is
        rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if not rows.size:
        return None
    corners = [[x, y, 1.0] for x in columns[[0, -1]] for y in rows[[0, -1]]]
    mapped = np.array(corners, dtype=np.float64) @ homography.T
    u, v = mapped[:, 0] / mapped[:, 2], mapped[:, 1] / mapped[:, 2]
    x0, x1 = np.clip([u.min() - _MARGIN, u.max() + _MARGIN + 1], 0, shape[1])
    y0, y1 = np.clip([v.min() - _MARGIN, v.max() + _MARGIN + 1], 0, shape[0])
    return int(x0), int(x1), int(y0), int(y1)


def _root(frame: Frame, response: Response, codes: Codes) -> FloatArray:
    """Square roots of linear values, where interpolation is best: photon noise is even there, and
    an edge rings far less than in linear light."""
    if codes.dtype == np.uint8:
        levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
        table = response.linearise(frame, levels)[0]
        return look_up(codes, np.sqrt(np.maximum(table + np.float32(_TOE), 0)))
    linear = response.linearise(frame, codes)
    linear += np.float32(_TOE)
    np.maximum(linear, 0, out=linear)
    return np.asarray(np.sqrt(linear, out=linear))
