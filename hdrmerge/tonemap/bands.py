"""Work on a picture in bands of rows: what a band needs stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.threads import side_by_side

Result = TypeVar("Result")

# Pixels; with more, the linear algebra beneath numpy starts threads of its own, which wait burning
# as much time as the work takes.
BAND = 60_000


def bands(shape: tuple[int, ...]) -> list[slice]:
    """Slices of rows of a picture (H, W, ...), from top to bottom."""
    step = max(1, BAND // shape[1])
    return [slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step)]


def in_bands(shape: tuple[int, ...], work: Callable[[slice], Result]) -> list[Result]:
    """``work`` done on every band, in their order from top to bottom, side by side."""
    return side_by_side(work, bands(shape))


class Made:
    """A plane (H, W) that nobody keeps: rows are made by ``make`` when they are asked for."""

    def __init__(self, shape: tuple[int, int], make: Callable[[slice], FloatArray]) -> None:
        self.shape, self._make = shape, make

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def __getitem__(self, rows: slice) -> FloatArray:
        return self._make(slice(*rows.indices(self.shape[0])[:2]))


Plane = FloatArray | Made


def kept(plane: Plane) -> FloatArray:
    """All rows of a plane; the plane itself where they are there."""
    if not isinstance(plane, Made):
        return plane
    rows_kept = np.empty(plane.shape, np.float32)

    def keep(rows: slice) -> None:
        rows_kept[rows] = plane[rows]

    in_bands(plane.shape, keep)
    return rows_kept
