"""What the local operators share: logarithms, a small plane of a large one, smoothing by edges."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.scene import Statistics

_BELOW = 2.0**-10  # what is ten stops darker than the darkest hundredth is black


def log_luminance(picture: FloatArray) -> FloatArray:
    """Natural logarithm of luminance (H, W) >= 0; black becomes a value below all that is seen."""
    import cv2

    step = max(1, int((picture.size / 1_000_000) ** 0.5))
    sample = picture[::step, ::step]
    seen = sample[sample > 0]
    low = float(np.percentile(seen, 1.0)) if seen.size else 1.0
    floor = np.float32(max(low * _BELOW, 1e-30))
    logs = np.empty_like(picture)

    def band(rows: slice) -> None:
        cv2.log(np.maximum(picture[rows], floor), logs[rows])

    in_bands(picture.shape, band)
    return logs


def exposed(picture: FloatArray, scene: Statistics) -> float:
    """How much brighter the picture was made than the scene that was measured: ``--exposure``.

    An operator that fits the picture to the display would take it back without knowing it.
    """
    peak = float(picture.max(initial=0.0))
    return peak / scene.maximum if peak > 0 and scene.maximum > 0 else 1.0


def reduced(plane: FloatArray, pixels: int) -> FloatArray:
    """Area averages of a plane, about ``pixels`` of them; the plane itself where it is small."""
    import cv2

    height, width = plane.shape
    step = max(1, round((plane.size / pixels) ** 0.5))
    if step == 1:
        return plane
    small = (-(-width // step), -(-height // step))
    return np.asarray(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), np.float32)


class Enlarged:
    """A small plane (h, w) as one of (height, width), interpolated a band of rows at a time."""

    def __init__(self, small: FloatArray, height: int, width: int) -> None:
        import cv2

        self._wide = np.asarray(
            cv2.resize(small, (width, small.shape[0]), interpolation=cv2.INTER_LINEAR)
        )
        self._height = height

    def __getitem__(self, rows: slice) -> FloatArray:
        last = self._wide.shape[0] - 1
        if last + 1 == self._height:
            return self._wide[rows].copy()
        centres = (np.arange(self._height)[rows] + 0.5) * ((last + 1) / self._height) - 0.5
        centres = np.clip(centres, 0, last)
        above = np.minimum(centres.astype(np.intp), max(last - 1, 0))
        share = (centres - above).astype(np.float32)[:, None]
        first = self._wide[above]
        band: FloatArray = self._wide[np.minimum(above + 1, last)]
        band -= first
        band *= share
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
