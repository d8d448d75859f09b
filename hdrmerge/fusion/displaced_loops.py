"""The search for what moved (``displaced``): every displacement tried, the best one kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
# Matches are added up as integers, so that sums over windows are differences of sums and exact: a
# window of 625 cells stays below 2^31.
_UNIT = np.float32(1 << 20)


@compiled
def best_steps(
    seen: FloatArray,
    there: FloatArray,
    free: FloatArray,
    votes: FloatArray,
    scales: FloatArray,
    windows: tuple[int, int, int],
    start: NDArray[np.int64],
    most: int,
    alike: np.float32,
    stay: np.float32,
    best: FloatArray,
) -> None:
    """Add to ``start`` (2, h, w), displacements (x, y) in cells, the steps of up to ``most`` cells
    each way at which most votes agree, and fill ``best`` (h, w) with their share, less ``stay`` for
    each squared cell of a step.

    A cell of ``seen`` (3, h, w) agrees with one of ``there`` as far as their mean difference is
    less than ``alike``, and not at all beyond the border; ``free`` (h, w) tells where things may
    have gone to, ``votes`` (h, w) who has a say. Agreement is averaged over windows of the radii
    ``windows``, mirrored at the border as OpenCV does, and weighed by ``scales`` (3, h, w).
    """
    height, width = votes.shape
    margin = max(windows[0], windows[1], windows[2])
    across, down = _mirrored(width, margin), _mirrored(height, margin)
    stride = len(across) + 1
    sums = np.zeros((height, stride), np.int32)  # of the cells before, in each row
    total = np.zeros((len(down) + 3) * stride, np.int32)  # and above; to be read beyond its end
    # planes are as wide as the sums, so that one loop passes over all of their rows
    weights = np.zeros((3, height, stride), np.float32)
    for n in range(3):
        area = _ONE / (_UNIT * np.float32((2 * windows[n] + 1) ** 2))
        for y in range(height):
            for x in range(width):
                weights[n, y, x] = scales[n, y, x] * area
    one, two, three = weights[0].ravel(), weights[1].ravel(), weights[2].ravel()
    a1, b1, c1, d1 = _corners(total, stride, margin, windows[0])
    a2, b2, c2, d2 = _corners(total, stride, margin, windows[1])
    a3, b3, c3, d3 = _corners(total, stride, margin, windows[2])
    most_agree = np.full(height * stride, -np.inf, np.float32)
    found = np.zeros(height * stride, np.int32)
    match = np.empty(width, np.int32)
    some = np.zeros(height, np.bool_)  # rows of which any cell votes
    for y in range(height):
        for x in range(width):
            some[y] |= votes[y, x] > _ZERO
    part = _ONE / (np.float32(3.0) * alike)
    for dy in range(-most, most + 1):
        for dx in range(-most, most + 1):
            for y in range(height):
                if not some[y]:
                    continue
                for x in range(width):
                    match[x] = 0
                    if votes[y, x] <= _ZERO:
                        continue
                    u, v = x + start[0, y, x] + dx, y + start[1, y, x] + dy
                    if u < 0 or v < 0 or u >= width or v >= height:
                        continue
                    differs = (
                        abs(seen[0, y, x] - there[0, v, u])
                        + abs(seen[1, y, x] - there[1, v, u])
                        + abs(seen[2, y, x] - there[2, v, u])
                    ) * part
                    if differs < _ONE:
                        agrees = (_ONE - differs) * free[v, u] * votes[y, x]
                        match[x] = np.int32(agrees * _UNIT)
                so_far = np.int32(0)
                for i in range(len(across)):
                    so_far += match[across[i]]
                    sums[y, i + 1] = so_far
            for i in range(len(down)):
                here = i * stride
                for x in range(stride):
                    total[here + stride + x] = total[here + x] + sums[down[i], x]
            penalty = stay * np.float32(dx * dx + dy * dy)
            step = np.int32((dy + most) * (2 * most + 1) + dx + most)
            for i in range(height * stride):
                # sums may have overflown, these differences do not
                share = np.float32(np.int32(d1[i] - c1[i] - b1[i] + a1[i])) * one[i]
                share += np.float32(np.int32(d2[i] - c2[i] - b2[i] + a2[i])) * two[i]
                share += np.float32(np.int32(d3[i] - c3[i] - b3[i] + a3[i])) * three[i]
                share -= penalty
                better = share > most_agree[i]
                most_agree[i] = share if better else most_agree[i]
                found[i] = step if better else found[i]
    for y in range(height):
        for x in range(width):
            step = found[y * stride + x]
            best[y, x] = most_agree[y * stride + x]
            start[0, y, x] += step % (2 * most + 1) - most
            start[1, y, x] += step // (2 * most + 1) - most


@compiled
def _corners(
    total: NDArray[np.int32], stride: int, margin: int, radius: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Sums above and left of the corners of the windows about each cell."""
    near, far = margin - radius, margin + radius + 1
    top, bottom = total[near * stride :], total[far * stride :]
    return top[near:], top[far:], bottom[near:], bottom[far:]


@compiled
def _mirrored(length: int, margin: int) -> NDArray[np.int64]:
    """Indices of a line and ``margin`` more on each side, mirrored about the last one."""
    index = np.empty(length + 2 * margin, np.int64)
    for i in range(len(index)):
        at = abs(i - margin) % max(2 * length - 2, 1)
        index[i] = at if at < length else 2 * length - 2 - at
    return index
