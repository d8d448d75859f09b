"""Sample a frame in the reference's geometry: the only place that interpolates what is merged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray, Frame, Matrix
from hdrmerge.response import Response

CLIPPED = 0.97  # linear; codes this close to full scale may be clipped light behind JPEG and noise
_TOE = 0.002  # added before square roots: read noise about black keeps its sign
_MARGIN = 4  # source pixels around a band that the interpolation kernel may touch


def columns_inside(
    homography: Matrix, shape: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.int64]:
    """(h, 2): which columns, first and end, of each row of a picture of ``size`` (h, w) lie inside
    a frame of ``shape``.

    Exact, from the four border inequalities, each linear in x along a row: u >= -1/2,
    u <= W - 1/2 and the same for v, where (u, v) = homography (x, y).
    """
    height, frame_width = shape
    y = np.arange(size[0], dtype=np.float64)
    h = homography
    low, high = np.zeros(y.shape), np.full(y.shape, size[1] - 1.0)
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
    first = np.ceil(np.minimum(low, size[1])).astype(np.int64)
    end = np.floor(np.maximum(high, -1.0)).astype(np.int64) + 1
    return np.stack([first, np.maximum(first, end)], axis=1)


def warp_planes(
    frame: Frame,
    response: Response,
    homography: Matrix,
    rows: tuple[int, int],
    columns: tuple[int, int],
    *,
    mark_clipped: bool = True,
    out: FloatArray | None = None,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """A part of the reference's pixel grid, sampled from ``frame`` and linearised.

    Returns planes of linear values (3, h, w) float32 with 0 = black level and 1 = the frame's
    saturation, and which columns of each row lie inside the frame, (h, 2), first and end; values
    outside are 0. With ``mark_clipped`` a channel that touches a clipped sample is reported as
    clipped (>= 1), so that a merge never mistakes the blend of a lamp and its surroundings for
    light that was measured; the shortest frame does without, since its blend is the best that is
    known. The identity copies rows without interpolation. ``out`` is filled, if it is given.
    """
    from hdrmerge.warp_loops import sample_planes

    size = rows[1] - rows[0], columns[1] - columns[0]
    out = np.empty((3, *size), np.float32) if out is None else out
    if np.array_equal(homography, np.eye(3)):
        inside = np.repeat(np.array([[0, size[1]]]), size[0], axis=0)
        _planes(frame, response, rows[0], columns[0], out, root=False)
        return out, inside
    to_reference = np.array([[1.0, 0, columns[0]], [0, 1, rows[0]], [0, 0, 1]])
    homography = homography @ to_reference
    inside = columns_inside(homography, frame.shape, size)
    box = _source_box(homography, inside, frame.shape)
    if box is None:
        out[:] = 0.0
    else:
        top, left, *around = box
        roots = np.empty((3, *around), np.float32)
        _planes(frame, response, top, left, roots, root=True)
        matrix = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]]) @ homography
        least = (CLIPPED + _TOE) ** 0.5 if mark_clipped else np.inf
        sample_planes(roots, matrix, inside, np.float32(_TOE), np.float32(least), out)
    return out, inside


def pixels_of(planes: FloatArray) -> FloatArray:
    """(3, h, w) as (h, w, 3)."""
    import cv2

    return np.asarray(cv2.merge(list(planes)), np.float32)


def mask_of(inside: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    """The columns (h, 2), first and end, that lie inside, as a mask (h, ``width``)."""
    x = np.arange(width)
    return (x >= inside[:, :1]) & (x < inside[:, 1:])


def _source_box(
    homography: Matrix, inside: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The part of a frame that ``inside`` is interpolated from: top, left, height, width; it
    reaches over the border where the interpolation does. None where nothing lies inside."""
    rows = np.flatnonzero(inside[:, 1] > inside[:, 0])
    if not rows.size:
        return None
    columns = inside[rows, 0].min(), inside[rows, 1].max() - 1
    corners = [[x, y, 1.0] for x in columns for y in rows[[0, -1]]]
    mapped = np.array(corners, dtype=np.float64) @ homography.T
    box = []
    for axis, length in ((1, shape[0]), (0, shape[1])):
        place = np.clip(mapped[:, axis] / mapped[:, 2], -1.0, length)
        box.append((int(place.min()) - _MARGIN, int(place.max()) + _MARGIN + 1))
    (top, bottom), (left, right) = box
    return top, left, bottom - top, right - left


def _planes(
    frame: Frame, response: Response, top: int, left: int, out: FloatArray, *, root: bool
) -> None:
    """Fill ``out`` (3, h, w) with linear values of a part of ``frame``, its border repeated beyond
    it; with ``root`` with their square roots, where interpolation is best: photon noise is even
    there, and an edge rings far less than in linear light."""
    import cv2

    from hdrmerge.warp_loops import planes_of

    if frame.pixels.dtype == np.uint8:
        table = response.of_codes(frame).T
        if root:
            table = np.sqrt(np.maximum(table + np.float32(_TOE), 0))
        planes_of(frame.pixels, np.ascontiguousarray(table), top, left, out)
        return
    (height, width), (_, h, w) = frame.shape, out.shape
    y0, y1, x0, x1 = max(top, 0), min(top + h, height), max(left, 0), min(left + w, width)
    linear = response.linearise(frame, frame.pixels[y0:y1, x0:x1])
    if root:
        linear = np.sqrt(np.maximum(linear + np.float32(_TOE), 0))
    beyond = y0 - top, top + h - y1, x0 - left, left + w - x1
    if any(beyond):
        linear = np.asarray(cv2.copyMakeBorder(linear, *beyond, cv2.BORDER_REPLICATE))
    out[:] = linear.transpose(2, 0, 1)
