"""A validated bracket: frames in order of exposure, one response, a place for each pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import StackError
from hdrmerge.frames import FloatArray, Frame, Matrix
from hdrmerge.response import Response
from hdrmerge.warp import mask_of, pixels_of, warp_planes


@dataclass(frozen=True, slots=True, eq=False)
class ExposureStack:
    """A validated bracket: ``frames`` ascending in ``exposures`` (N,), reference's exposure 1.

    ``homographies`` (N, 3, 3) map reference to frame coordinates; the reference's is the identity.
    """

    frames: tuple[Frame, ...]
    exposures: NDArray[np.float64]
    response: Response
    reference: int
    homographies: Matrix

    def __post_init__(self) -> None:
        n = len(self.frames)
        if n < 2:
            raise StackError("A bracket needs at least two frames.")
        if len({f.shape for f in self.frames}) != 1:
            raise StackError("The frames differ in size.")
        if self.exposures.shape != (n,) or np.any(np.diff(self.exposures) < 0):
            raise StackError("Frames must ascend in exposure.")
        if not 0 <= self.reference < n or abs(self.exposures[self.reference] - 1.0) > 1e-9:
            raise StackError("The reference's exposure must be 1.")
        if self.homographies.shape != (n, 3, 3):
            raise StackError("One homography a frame is needed.")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def shape(self) -> tuple[int, int]:
        return self.frames[0].shape

    def with_homographies(self, homographies: Matrix) -> ExposureStack:
        return replace(self, homographies=homographies)

    def linear(
        self, k: int, rows: slice = slice(None), columns: slice = slice(None)
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Frame k in the reference's geometry: linear (h, w, 3) float32 and its valid mask (h, w).

        ``rows`` and ``columns`` pick a part of the reference's picture. Invalid pixels lie outside
        the frame; their values are 0.
        """
        planes, inside = self.planes(k, rows, columns)
        return pixels_of(planes), mask_of(inside, planes.shape[2])

    def planes(
        self,
        k: int,
        rows: slice = slice(None),
        columns: slice = slice(None),
        out: FloatArray | None = None,
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """``linear`` as planes (3, h, w); and the valid columns of each row, (h, 2): first, end."""
        (start, stop, _), (left, right, _) = map(slice.indices, (rows, columns), self.shape)
        return warp_planes(
            self.frames[k],
            self.response,
            self.homographies[k],
            (start, stop),
            (left, right),
            mark_clipped=k > 0,  # nothing knows better than the shortest
            out=out,
        )

    def proxy(self, max_pixels: int) -> ExposureStack:
        """The same bracket area-averaged to at most ``max_pixels`` (itself where small enough)."""
        frames = tuple(frame.averaged(max_pixels) for frame in self.frames)
        (height, width), (h, w) = self.shape, frames[0].shape
        if (h, w) == (height, width):
            return self
        sx, sy = w / width, h / height
        to_proxy = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        homographies = to_proxy @ self.homographies @ np.linalg.inv(to_proxy)
        return replace(self, frames=frames, homographies=homographies)
