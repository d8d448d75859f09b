"""Reinhard, Stark, Shirley and Ferwerda 2002, "Photographic tone reproduction"."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bilateral import bilateral
from hdrmerge.tonemap.edge_aware import log_luminance
from hdrmerge.tonemap.scene import Curve, Statistics


def automatic_key(scene: Statistics) -> float:
    """The key of a scene: about 0.24, more for a bright and less for a dark one.

    The form is eq. 5 of Reinhard 2003, "Parameter estimation for photographic tone reproduction",
    JGT 7(1); its 0.18 gave pictures that are too dark beside what a camera makes. Kept within a
    stop or so of middle grey, because night should stay dark, yet be seen; lower where a lit tenth
    of the picture in black surroundings would burn out.
    """
    low, mid, high = np.log2([scene.low, scene.log_average, scene.high])
    if high - low < 1e-3:
        return 0.18
    key = float(np.clip(0.24 * 4.0 ** ((2 * mid - low - high) / (high - low)), 0.1, 0.34))
    gentle = 1.6 * scene.log_average / scene.bright
    return key if key <= gentle else float((key * gentle) ** 0.5)


def reinhard2002(scene: Statistics, *, key: float | None, white: float | None) -> Curve:
    """Eq. 2 and 4: the global operator.

    ``key``: what the log-average becomes (0.18 in the paper; None: from the picture).
    ``white``: scaled luminance that becomes white (None: twice the 99th percentile).
    """
    factor, limit = _scale(scene, key, white)

    def curve(luminance: FloatArray) -> FloatArray:
        scaled = luminance * np.float32(factor)
        return _compress(scaled, scaled, limit)

    return curve


def reinhard2002_local(
    luminance: FloatArray,
    scene: Statistics,
    *,
    key: float | None,
    white: float | None,
    phi: float,
    threshold: float,
) -> FloatArray:
    """Eq. 5 to 9: dodging and burning with eight scales.

    Each pixel is compressed by the average of the largest surround that holds no strong contrast:
    the largest scale s with |V(s)| < ``threshold``, V = (V1 - V2) / (2^phi key / s^2 + V1), V1 and
    V2 Gaussian averages of sigma 0.25 s and 0.4 s, s = 1.6^0 ... 1.6^7. ``phi`` sharpens.
    """
    key = automatic_key(scene) if key is None else key
    factor, limit = _scale(scene, key, white)
    scaled = luminance * np.float32(factor)
    surround = scaled.copy()
    undecided = np.ones(scaled.shape, dtype=bool)
    centre = _blur(scaled, _SIGMA)
    contrast, against = np.empty_like(scaled), np.empty_like(scaled)
    for index in range(8):
        s = 1.6**index
        # the surround of this scale is the centre of the next: their radii are 1.6 apart
        wide = _blur(scaled, _SIGMA * s * 1.6)
        np.subtract(centre, wide, out=contrast)
        np.add(centre, np.float32(2.0**phi * key / s**2), out=against)
        np.abs(np.divide(contrast, against, out=contrast), out=contrast)
        undecided &= contrast < threshold
        np.copyto(surround, centre, where=undecided)
        centre = wide
    return _compress(scaled, surround, limit)


def reinhard2002_bilateral(
    luminance: FloatArray,
    scene: Statistics,
    *,
    key: float | None,
    white: float | None,
    sigma_space: float,
    sigma_range: float,
) -> FloatArray:
    """Eq. 9 with the bilateral average of log luminance as the surround V.

    The bilateral filter (Durand and Dorsey 2002) averages what is near in place and in value,
    which is what the choice among eight scales is for. ``sigma_space``: share of the longer side;
    ``sigma_range``: of log10 luminance.
    """
    factor, limit = _scale(scene, key, white)
    scaled = luminance * np.float32(factor)
    logs = log_luminance(scaled)
    surround = bilateral(logs, sigma_space * max(logs.shape), sigma_range * np.log(10.0))
    del logs
    np.exp(surround, out=surround)
    return _compress(scaled, surround, limit)


# of the first scale in pixels: the paper's exp(-(r / (alpha_1 s))^2) with alpha_1 = 1 / (2 sqrt 2)
_SIGMA = 0.25


def _scale(scene: Statistics, key: float | None, white: float | None) -> tuple[float, float]:
    """The factor that puts the log-average at ``key`` (eq. 2), and the Ls that becomes white."""
    factor = (automatic_key(scene) if key is None else key) / scene.log_average
    return factor, white if white is not None else max(1.0, 2.0 * factor * scene.high)


def _compress(scaled: FloatArray, surround: FloatArray, white: float) -> FloatArray:
    """L (1 + L / white^2) / (1 + surround), eq. 4 and 9."""
    result: FloatArray = scaled * (1.0 + scaled * np.float32(1.0 / white**2))
    result /= 1.0 + surround
    return result


def _blur(plane: FloatArray, sigma: float) -> FloatArray:
    """Gaussian average of ``sigma`` pixels; wide ones at reduced size, where nothing is lost."""
    import cv2

    height, width = plane.shape
    step = 1
    while sigma / (2 * step) >= 2.0 and min(height, width) >= 8 * step:
        step *= 2
    if step == 1:
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)
    small = cv2.resize(plane, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    return np.asarray(
        cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
