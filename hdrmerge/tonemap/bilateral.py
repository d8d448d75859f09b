"""The bilateral filter, fast: Durand and Dorsey 2002, section 5."""

from __future__ import annotations

import math

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.edge_aware import Enlarged, reduced

_SIGMA_SMALL = 3.0  # pixels that the spatial sigma keeps on the reduced plane
_SEGMENTS = 64


def bilateral(plane: FloatArray, sigma_space: float, sigma_range: float) -> FloatArray:
    """Bilateral average of a plane (H, W): Gaussian in space (pixels) and in value.

    Piecewise linear in the value (section 5.1): the filter is linear once the centre's value is
    fixed, so it is found for values a range sigma apart and interpolated; each at reduced size
    (section 5.2), where a wide Gaussian loses nothing.
    """
    import cv2

    step = max(1.0, sigma_space / _SIGMA_SMALL)
    small = reduced(plane, max(1, round(plane.size / step**2)))
    shrunk = math.sqrt(plane.size / small.size)
    low, high = float(plane.min()), float(plane.max())
    segments = min(_SEGMENTS, max(1, math.ceil((high - low) / sigma_range)))
    width = max((high - low) / segments, 1e-6)

    def blur(x: FloatArray) -> FloatArray:
        sigma = sigma_space / shrunk
        return np.asarray(cv2.GaussianBlur(x, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))

    layers = []
    for k in range(segments + 1):
        distance = (small - np.float32(low + k * width)) / np.float32(sigma_range)
        weight = np.exp(np.float32(-0.5) * distance * distance)
        total = blur(weight)
        # where nothing is near this value no pixel will ask for it: keep it finite
        average = blur(weight * small) / np.maximum(total, np.float32(1e-20))
        average = np.where(total > 1e-12, average, np.float32(low + k * width))
        layers.append(Enlarged(average.astype(np.float32), *plane.shape))
    result = np.empty_like(plane)

    def band(rows: slice) -> None:
        place = (plane[rows] - np.float32(low)) / np.float32(width)
        total = np.zeros_like(place)
        first, last = math.floor(float(place.min())), math.ceil(float(place.max()))
        for k in range(max(0, first), min(segments, last) + 1):
            share = np.maximum(1 - np.abs(place - np.float32(k)), 0)
            total += share * layers[k][rows]
        result[rows] = total

    in_bands(plane.shape, band)
    return result
