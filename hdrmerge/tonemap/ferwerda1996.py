"""Ferwerda, Pattanaik, Shirley and Greenberg 1996, "A model of visual adaptation"."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.scene import Curve, Statistics
from hdrmerge.tonemap.vision import cone_threshold, rod_threshold

_ROD_COLOUR = np.array([1.05, 0.97, 1.27], np.float32)  # of light that only rods see: bluish
_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
)


def ferwerda1996(
    scene: Statistics, *, luminance: float | None, adaptation: float | None, peak: float
) -> Curve:
    """What is just visible in the scene is just visible on the display: eq. 3 to 8.

    ``luminance``: cd/m2 of the map's 1 (None: by the photograph's EXIF, else so that the display's
    eye and the scene's are adapted alike, by day). ``adaptation``: what the observer in the scene
    is adapted to, cd/m2 (None: half of the 99th percentile; the paper takes half of the highest
    visible). ``peak``: the display's white, cd/m2, half of which its observer is adapted to.
    """
    shown_to = peak / 2
    if luminance is None:
        luminance = scene.unit
    if luminance is None:
        luminance = shown_to / (scene.high / 2)
    if adaptation is None:
        adaptation = luminance * scene.high / 2
    cones = float(cone_threshold(shown_to) / cone_threshold(adaptation))
    rods = float(rod_threshold(shown_to) / rod_threshold(adaptation))
    # 1 by night and 0 from 20 cd/m2 upwards
    night = float(np.clip(1 - (adaptation / 2 - 0.01) / (10 - 0.01), 0, 1)) ** 2
    gain = np.float32(luminance * cones / peak)
    rod_gain = np.float32(luminance * rods * night / peak)

    def curve(rgb: FloatArray) -> FloatArray:
        result = rgb * gain
        if night > 0:
            result += (_scotopic(rgb) * rod_gain)[..., None] * _ROD_COLOUR
        return result

    return curve


def _scotopic(rgb: FloatArray) -> FloatArray:
    """What rods see of a colour, by the fit of Ward Larson et al. 1997, eq. 10."""
    xyz = rgb @ _TO_XYZ.T
    x, y, z = xyz[..., 0], xyz[..., 1], xyz[..., 2]
    relative = 1.33 * (1 + (y + z) / np.maximum(x, np.float32(1e-20))) - 1.68
    return np.asarray(y * np.clip(relative, 0, 10).astype(np.float32))
