"""The operator ``auto``: a picture that looks right without a parameter."""

from __future__ import annotations

import math

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.contrast_curve import fit_curve
from hdrmerge.tonemap.edge_aware import (
    Enlarged,
    exposed,
    guided_coefficients,
    log_luminance,
    reduced,
)
from hdrmerge.tonemap.scene import Statistics

_PIXELS = 400_000  # of the reduced picture, in which base and curve are found
_RADIUS = 0.0375  # of the base's window, of the root of the picture's area
_EDGE = 1.0  # variance in stops^2 above which a window holds an edge
_FADE = (-7.5, -5.5)  # display stops between which fine contrast comes in: below is noise
_SHOULDER = 0.75  # of display luminance; what is brighter approaches white without reaching it
_DETAIL = 1.15  # factor on fine contrast that is ordinary: a mean deviation from the base ...
_ORDINARY = 0.26  # ... of so many stops; foliage gets less, lest it is harsh, and plain walls more
_DETAILS = (0.75, 1.2)
_STEPS = 1 << 16
_STOP = math.log(2.0)


def auto(
    picture: FloatArray, scene: Statistics, *, brightness: float | None, detail: float | None
) -> FloatArray:
    """Luminance (H, W) to display luminance: base by a contrast-preserving curve, detail on top.

    The base is the guided filter's (He, Sun and Tang 2013) of log luminance; its edges are the
    picture's, so there are no halos. The curve is that of Eilertsen, Mantiuk and Unger 2015.
    ``brightness``: mean sRGB code of the picture, 0..255; None: found from the scene, less by night
    where the scene's unit is known.
    ``detail``: factor on fine contrast, which fades out where the display is nearly black; None:
    found from the scene.
    """
    if not picture.max(initial=0.0) > 0:
        return np.zeros_like(picture)
    logs = log_luminance(picture)
    logs *= np.float32(1 / _STOP)
    small = reduced(logs, _PIXELS)
    radius = max(1, round(_RADIUS * math.sqrt(small.size)))
    a, b = guided_coefficients(small, radius, _EDGE)
    base = a * small + b
    if detail is None:
        fine = max(float(np.abs(small - base).mean()), 1e-6)
        detail = float(np.clip(_DETAIL * (_ORDINARY / fine) ** 2, *_DETAILS))
    known = None if scene.unit is None else scene.unit * scene.log_average
    curve = fit_curve(base, brightness, math.log2(exposed(picture, scene)), known)
    slope, offset = Enlarged(a, *picture.shape), Enlarged(b, *picture.shape)

    # the curves as tables: a look-up costs a tenth of an interpolation
    low, high = float(base.min()) - 1, float(base.max()) + 1
    shown = curve(np.linspace(low, high, _STEPS)).astype(np.float32)
    fade = np.clip((shown - _FADE[0]) / (_FADE[1] - _FADE[0]), 0, 1) ** 0.5 * np.float32(detail)

    def band(rows: slice) -> None:
        import cv2

        smooth = slope[rows] * logs[rows]
        smooth += offset[rows]
        fine = logs[rows] - smooth
        smooth -= np.float32(low)
        smooth *= np.float32((_STEPS - 1) / (high - low))
        index = np.clip(smooth, 0, _STEPS - 1, out=smooth).astype(np.uint16)
        fine *= cv2.LUT(index, fade)
        fine += cv2.LUT(index, shown)
        logs[rows] = _shoulder(np.exp2(fine, out=fine))

    in_bands(picture.shape, band)
    return logs


def _shoulder(linear: FloatArray) -> FloatArray:
    """Display luminance that approaches 1, in place."""
    room = np.float32(1 - _SHOULDER)
    over = linear > _SHOULDER
    excess = linear[over]
    excess -= np.float32(_SHOULDER)
    linear[over] = 1 - room * np.exp(-excess / room)
    return linear
