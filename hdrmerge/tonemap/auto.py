"""The operator ``auto``: a picture that looks right without a parameter."""

from __future__ import annotations

import math

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import Made, Plane
from hdrmerge.tonemap.contrast_curve import fit_curve
from hdrmerge.tonemap.edge_aware import BELOW, Enlarged, guided_coefficients, reduced
from hdrmerge.tonemap.scene import LocalCurve, Statistics

_PIXELS = 400_000  # of the reduced picture, in which base and curve are found
_RADIUS = 0.0375  # of the base's window, of the root of the picture's area
_EDGE = 1.0  # variance in stops^2 above which a window holds an edge
_DETAIL = 1.15  # factor on fine contrast that is ordinary: a mean deviation from the base ...
_ORDINARY = 0.26  # ... of so many stops; foliage gets less, lest it is harsh, and plain walls more
_DETAILS = (0.75, 1.2)
_STEPS = 1 << 16
_DARKEST = 1e-30


def auto(
    picture: Plane, scene: Statistics, *, brightness: float | None, detail: float | None
) -> LocalCurve:
    """Luminance to display luminance: base by a contrast-preserving curve, detail on top.

    The base is the guided filter's (He, Sun and Tang 2013) of log luminance; its edges are the
    picture's, so there are no halos. The curve is that of Eilertsen, Mantiuk and Unger 2015.
    ``brightness``: mean sRGB code of the picture, 0..255; None: found from the scene, less by night
    where the scene's unit is known.
    ``detail``: factor on fine contrast, which fades out where the display is nearly black, since
    below is noise; None: found from the scene.
    """
    from hdrmerge.tonemap.auto_loops import log2_above, show

    floor = np.float32(max(scene.low * scene.exposure * BELOW, _DARKEST))

    def log2(luminance: FloatArray) -> FloatArray:
        band = np.empty(luminance.shape, np.float32)
        log2_above(np.ascontiguousarray(luminance).reshape(-1), floor, band.reshape(-1))
        return band

    stops = Made(picture.shape, lambda rows: log2(picture[rows]))
    small = reduced(stops, _PIXELS)
    radius = max(1, round(_RADIUS * math.sqrt(small.size)))
    a, b = guided_coefficients(small, radius, _EDGE)
    base = a * small + b
    if detail is None:
        fine = max(float(np.abs(small - base).mean()), 1e-6)
        detail = float(np.clip(_DETAIL * (_ORDINARY / fine) ** 2, *_DETAILS))
    known = None if scene.unit is None else scene.unit * scene.log_average
    curve = fit_curve(base, brightness, math.log2(scene.exposure), known)
    slope, offset = Enlarged(a, *picture.shape), Enlarged(b, *picture.shape)

    # the curve as a table: a look-up costs a tenth of an interpolation
    low, high = float(base.min()) - 1, float(base.max()) + 1
    table = curve(np.linspace(low, high, _STEPS)).astype(np.float32)
    scale = (_STEPS - 1) / (high - low)

    def shown(luminance: FloatArray, rows: slice) -> FloatArray:
        above, share = slope.between(rows)
        numbers = np.float32(low), np.float32(scale), np.float32(detail)
        band = np.empty(luminance.shape, np.float32)
        show(log2(luminance), slope.wide, offset.wide, above, share, table, *numbers, band)
        return band

    return shown
