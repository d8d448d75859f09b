"""Work on a picture in bands of rows: what a band needs stays in the processor's cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

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
    """A plane or picture (H, W, ...) that nobody keeps: ``make`` gives rows that are asked for."""

    def __init__(
        self,
        shape: tuple[int, ...],
        make: Callable[[slice], NDArray[Any]],
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.shape, self.dtype, self._make = shape, np.dtype(dtype), make

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        first, end, _ = rows.indices(self.shape[0])
        step = max(1, BAND // self.shape[1])
        if end - first <= step:
            return self._make(slice(first, end))
        found = np.empty((end - first, *self.shape[1:]), self.dtype)
        for top in range(first, end, step):
            below = min(top + step, end)
            found[top - first : below - first] = self._make(slice(top, below))
        return found


Plane = FloatArray | Made


def kept(plane: NDArray[Any] | Made) -> NDArray[Any]:
    """All rows, made side by side where they are not there yet."""
    if not isinstance(plane, Made):
        return plane
    rows_kept = np.empty(plane.shape, plane.dtype)

    def keep(rows: slice) -> None:
        rows_kept[rows] = plane[rows]

    in_bands(plane.shape, keep)
    return rows_kept
