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

    def look(k: int) -> tuple[NDArray[np.bool_], FloatArray]:
        return _look(stack.frames[k], stack.homographies[k], rows, columns)

    seen = side_by_side(look, range(len(stack)))
    inside = np.logical_and.reduce([where for where, _ in seen])
    mean, variance, highest = (np.stack([f[n][inside] for _, f in seen]) for n in range(3))
    tile_row = (rows * TILES // height)[:, None]
    tile = (tile_row * TILES + (columns * TILES // width)[None]).astype(np.intp)
    return Blocks(
        mean=mean,
        variance=variance,
        highest=highest,
        tile=tile[inside],
        display=stack.frames[0].encoding == "display",
    )


def _starts(length: int, step: float) -> NDArray[np.intp]:
    count = max(1, int(length / (SIDE * step)))
    return np.floor(np.linspace(0, max(0, length - SIDE), count)).astype(np.intp)


def _look(
    frame: Frame, homography: Matrix, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], FloatArray]:
    """Which blocks lie inside a frame (R, C), and means, variances and maxima (3, R, C, 3).

    Bilinear in the codes: blocks that count are flat, where that is as good as in linear light.
    """
    from hdrmerge.samples_loops import look

    found = np.empty((3, len(rows), len(columns), 3), np.float32)
    inside = np.empty(found.shape[1:3], np.bool_)
    matrix = np.ascontiguousarray(homography, dtype=np.float64)
    codes = np.ascontiguousarray(frame.pixels)
    look(codes, matrix, rows, columns, SIDE, codes.dtype != np.float32, found, inside)
    scale = np.float32(1 / (frame.white - frame.black))
    found[[0, 2]] -= np.float32(frame.black)
    found *= np.array([scale, scale * scale, scale], np.float32)[:, None, None, None]
    return inside, found
