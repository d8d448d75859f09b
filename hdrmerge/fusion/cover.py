"""Rectangles that cover scattered cells, when each costs what lies around it too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Place = tuple[slice, slice]  # rows and columns

_WORTH = 0.98  # of the cost that a cut must leave at most


def cover(cells: Mask, around: int, longest: int) -> list[Place]:
    """Disjoint rectangles of cells (h, w) that hold all that are set, none longer than ``longest``.

    A rectangle of h x w costs (h + ``around``) (w + ``around``). Each is shrunk to what it holds
    and cut in two, as long as that pays (the best straight cut each time). The costliest first.
    """
    found: list[tuple[int, Place]] = []
    todo = [(0, 0, cells)]
    while todo:
        top, left, part = todo.pop()
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        if not rows.size:
            continue
        top, left = top + int(rows[0]), left + int(columns[0])
        part = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = part.shape
        cost = (height + around) * (width + around)
        (down, row), (across, column) = _best_cut(part, around), _best_cut(part.T, around)
        if min(down, across) > _WORTH * cost:
            if max(height, width) <= longest:
                place = (slice(top, top + height), slice(left, left + width))
                found.append((cost, place))
                continue
            across, down = (0, 1) if width > height else (1, 0)
            row, column = height // 2, width // 2
        if down < across:
            todo += [(top, left, part[:row]), (top + row, left, part[row:])]
        else:
            todo += [(top, left, part[:, :column]), (top, left + column, part[:, column:])]
    found.sort(key=lambda one: -one[0])
    return [place for _, place in found]


def _best_cut(part: Mask, around: int) -> tuple[float, int]:
    """The least cost of two rectangles, one above the other, and the row where the second begins;
    infinite where there is only one row."""
    if len(part) < 2:
        return np.inf, 0
    total = _costs(part, around)[:-1] + _costs(part[::-1], around)[::-1][1:]
    row = int(total.argmin())
    return float(total[row]), row + 1


def _costs(part: Mask, around: int) -> NDArray[np.intp]:
    """(h,) the cost of what rows 0..i hold, by i; the first holds something."""
    width = part.shape[1]
    some = part.any(axis=1)
    first = np.where(some, part.argmax(axis=1), width)
    last = np.where(some, width - part[:, ::-1].argmax(axis=1), 0)
    lowest = np.maximum.accumulate(np.where(some, np.arange(1, len(part) + 1), 0))
    span = np.maximum.accumulate(last) - np.minimum.accumulate(first)
    return np.asarray((lowest + around) * (span + around))
