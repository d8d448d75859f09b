"""What the local operators share: logarithms, a small plane of a large one, smoothing by edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import Plane, in_bands, kept

BELOW = 2.0**-10  # what is ten stops darker than the darkest hundredth is black


def log_luminance(picture: FloatArray) -> FloatArray:
    """Natural logarithm of luminance (H, W) >= 0; black becomes a value below all that is seen."""
    import cv2

    step = max(1, int((picture.size / 1_000_000) ** 0.5))
    sample = picture[::step, ::step]
    seen = sample[sample > 0]
    low = float(np.percentile(seen, 1.0)) if seen.size else 1.0
    floor = np.float32(max(low * BELOW, 1e-30))
    logs = np.empty_like(picture)

    def band(rows: slice) -> None:
        cv2.log(np.maximum(picture[rows], floor), logs[rows])

    in_bands(picture.shape, band)
    return logs


def reduced(plane: Plane, pixels: int) -> FloatArray:
    """Area averages of a plane, about ``pixels`` of them; the plane itself where it is small."""
    import cv2

    height, width = plane.shape
    step = max(1, round((plane.size / pixels) ** 0.5))
    if step == 1:
        return kept(plane)
    small = -(-height // step), -(-width // step)
    narrow = np.empty((height, small[1]), np.float32)

    def average(rows: slice) -> None:
        band = plane[rows]
        cv2.resize(band, (small[1], len(band)), narrow[rows], interpolation=cv2.INTER_AREA)

    in_bands(plane.shape, average)
    size = small[::-1]
    return np.asarray(cv2.resize(narrow, size, interpolation=cv2.INTER_AREA), np.float32)


class Enlarged:
    """A small plane (h, w) as one of (height, width), interpolated a band of rows at a time.

    ``wide`` (h, width) has its columns already.
    """

    def __init__(self, small: FloatArray, height: int, width: int) -> None:
        import cv2

        self.wide: FloatArray = np.asarray(
            cv2.resize(small, (width, small.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32
        )
        last = small.shape[0] - 1
        centres = (np.arange(height) + 0.5) * ((last + 1) / height) - 0.5
        centres = np.clip(centres, 0, last)
        self._above = np.minimum(centres.astype(np.intp), max(last - 1, 0))
        self._share = (centres - self._above).astype(np.float32)

    def between(self, rows: slice) -> tuple[NDArray[np.intp], FloatArray]:
        """The row of ``wide`` above each of ``rows``, and how far it is to the one below."""
        return self._above[rows], self._share[rows]

    def __getitem__(self, rows: slice) -> FloatArray:
        above, share = self.between(rows)
        first = self.wide[above]
        band: FloatArray = self.wide[np.minimum(above + 1, len(self.wide) - 1)]
        band -= first
        band *= share[:, None]
        band += first
        return band


def guided_coefficients(
    guide: FloatArray, radius: int, epsilon: float, target: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """(a, b) of the guided filter: ``target`` (the guide itself if None) is near a guide + b.

    He, Sun and Tang 2013, "Guided image filtering", eq. 5, 6 and 8, in windows of 2 ``radius`` + 1
    pixels. With itself as guide a plane keeps its edges where the variance in the window is above
    ``epsilon`` and is smoothed where it is below. a and b are smooth and can be found on a reduced
    plane (He and Sun 2015, "Fast guided filter").
    """
    import cv2

    def mean(x: FloatArray) -> FloatArray:
        size = (2 * radius + 1, 2 * radius + 1)
        return np.asarray(cv2.blur(x, size, borderType=cv2.BORDER_REFLECT), np.float32)

    average = mean(guide)
    variance: FloatArray = np.maximum(mean(guide * guide) - average * average, np.float32(0))
    if target is None:
        a: FloatArray = variance / (variance + np.float32(epsilon))
        return mean(a), mean(average - a * average)
    other = mean(target)
    a = (mean(guide * target) - average * other) / (variance + np.float32(epsilon))
    return mean(a), mean(other - a * average)
