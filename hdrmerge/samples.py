"""Small blocks of pixels of an aligned bracket: what calibration looks at instead of all pixels.

A block's mean is steadier than a pixel against noise, quantisation and a pixel of misalignment,
and its variance says how flat it is. Both are kept in the domain of codes, so that any response
can be tried on them: E[g(z)] = g(mean) + g''(mean) variance / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray, Frame, Matrix
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import side_by_side

SIDE = 4  # pixels
TILES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """B blocks of 4 x 4 pixels of N aligned frames.

    ``mean`` and ``variance`` (N, B, 3) of the code fractions, ``highest`` (N, B, 3) the largest
    fraction of a block, ``tile`` (B,) which of 16 x 16 tiles of the image a block lies in. All
    blocks lie inside every frame. ``display``: whether the codes are behind a camera response.
    """

    mean: FloatArray
    variance: FloatArray
    highest: FloatArray
    tile: NDArray[np.intp]
    display: bool


def sample_blocks(stack: ExposureStack, max_blocks: int = 90_000) -> Blocks:
    """Blocks on a regular grid over the reference's image, ``max_blocks`` at most."""
    height, width = stack.shape
    step = max(1.0, (height * width / (SIDE * SIDE * max_blocks)) ** 0.5)
    rows = _starts(height, step)
    columns = _starts(width, step)
    y, x = (
        np.minimum(s[:, None] + np.arange(SIDE), n - 1).ravel()
        for s, n in ((rows, height), (columns, width))
    )

    def look(k: int) -> tuple[NDArray[np.bool_], tuple[FloatArray, FloatArray, FloatArray]]:
        frame = stack.frames[k]
        codes, valid = _gather(frame, stack.homographies[k], x, y)
        inside = valid.reshape(len(rows), SIDE, len(columns), SIDE).all(axis=(1, 3))
        return np.asarray(inside), _statistics(frame.fraction(codes))

    seen = side_by_side(look, range(len(stack)))
    inside = np.logical_and.reduce([where for where, _ in seen])
    means, variances, peaks = zip(*(found for _, found in seen), strict=True)
    tile_row = (rows * TILES // height)[:, None]
    tile = (tile_row * TILES + (columns * TILES // width)[None]).astype(np.intp)
    return Blocks(
        mean=np.stack([m[inside] for m in means]),
        variance=np.stack([v[inside] for v in variances]),
        highest=np.stack([p[inside] for p in peaks]),
        tile=tile[inside],
        display=stack.frames[0].encoding == "display",
    )


def _starts(length: int, step: float) -> NDArray[np.intp]:
    count = max(1, int(length / (SIDE * step)))
    return np.floor(np.linspace(0, max(0, length - SIDE), count)).astype(np.intp)


def _gather(
    frame: Frame, homography: Matrix, x: NDArray[np.intp], y: NDArray[np.intp]
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Codes at the crossings of rows ``y`` and columns ``x`` of the reference, and their validity.

    Bilinear in the codes: blocks that count are flat, where that is as good as in linear light.
    """
    import cv2

    if np.array_equal(homography, np.eye(3)):
        valid = np.ones((len(y), len(x)), dtype=bool)
        return frame.pixels[np.ix_(y, x)], valid
    px, py = np.meshgrid(x.astype(np.float64), y.astype(np.float64))
    h = homography
    w = h[2, 0] * px + h[2, 1] * py + h[2, 2]
    mx = ((h[0, 0] * px + h[0, 1] * py + h[0, 2]) / w).astype(np.float32)
    my = ((h[1, 0] * px + h[1, 1] * py + h[1, 2]) / w).astype(np.float32)
    height, width = frame.shape
    valid = (mx >= 0) & (mx <= width - 1) & (my >= 0) & (my <= height - 1)
    return cv2.remap(frame.pixels, mx, my, cv2.INTER_LINEAR), valid


def _statistics(fraction: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, unbiased variance and maximum of each block; (rows, columns, 3) float32."""
    import cv2

    h, w = fraction.shape[0] // SIDE, fraction.shape[1] // SIDE
    n = SIDE * SIDE
    mean = cv2.resize(fraction, (w, h), interpolation=cv2.INTER_AREA)
    square = cv2.resize(fraction * fraction, (w, h), interpolation=cv2.INTER_AREA)
    variance = np.maximum(square - mean * mean, 0) * np.float32(n / (n - 1))
    down = fraction[0::SIDE].copy()
    for row in range(1, SIDE):
        np.maximum(down, fraction[row::SIDE], out=down)
    peak = down[:, 0::SIDE].copy()
    for column in range(1, SIDE):
        np.maximum(peak, down[:, column::SIDE], out=peak)
    return mean, variance, peak
