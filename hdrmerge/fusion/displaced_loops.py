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
    windows: NDArray[np.int64],
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
    ``windows`` (n,), mirrored at the border as OpenCV does, and weighed by ``scales`` (n, h, w).
    """
    height, width = votes.shape
    margin = windows.max()
    across, down = _mirrored(width, margin), _mirrored(height, margin)
    sums = np.zeros((height, len(across) + 1), np.int32)  # of the cells before, in each row
    total = np.zeros((len(down) + 1, len(across) + 1), np.int32)  # and above
    side = 2 * most + 1
    best[:] = -np.inf
    found = np.zeros((height, width), np.int32)
    share = np.empty(width, np.float32)
    match = np.empty(width, np.int32)
    area = np.empty(len(windows), np.float32)
    for n in range(len(windows)):
        area[n] = _ONE / (_UNIT * np.float32((2 * windows[n] + 1) ** 2))
    part = _ONE / (np.float32(3.0) * alike)
    for dy in range(-most, most + 1):
        for dx in range(-most, most + 1):
            for y in range(height):
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
                for x in range(sums.shape[1]):
                    total[i + 1, x] = total[i, x] + sums[down[i], x]
            penalty = stay * np.float32(dx * dx + dy * dy)
            step = np.int32((dy + most) * side + dx + most)
            for y in range(height):
                share[:] = -penalty
                for n in range(len(windows)):
                    near, far = margin - windows[n], margin + windows[n] + 1
                    top, bottom = total[y + near], total[y + far]
                    weight, scale = scales[n, y], area[n]
                    for x in range(width):
                        inside = np.int32(  # sums may have overflown, this difference does not
                            (bottom[x + far] - top[x + far]) - (bottom[x + near] - top[x + near])
                        )
                        share[x] += np.float32(inside) * (scale * weight[x])
                for x in range(width):
                    better = share[x] > best[y, x]
                    best[y, x] = share[x] if better else best[y, x]
                    found[y, x] = step if better else found[y, x]
    for y in range(height):
        for x in range(width):
            start[0, y, x] += found[y, x] % side - most
            start[1, y, x] += found[y, x] // side - most


@compiled
def _mirrored(length: int, margin: int) -> NDArray[np.int64]:
    """Indices of a line and ``margin`` more on each side, mirrored about the last one."""
    index = np.empty(length + 2 * margin, np.int64)
    for i in range(len(index)):
        at = i - margin
        while at < 0 or at >= length:
            at = -at if at < 0 else 2 * (length - 1) - at
            if length == 1:
                at = 0
        index[i] = at
    return index
