"""Fattal, Lischinski and Werman 2002, "Gradient domain high dynamic range compression"."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.edge_aware import log_luminance
from hdrmerge.tonemap.scene import Statistics

_COARSEST = 8  # least pixels of the smallest level, as in pfstmo (32 in the paper, section 4)
_ENDS = (0.1, 99.5)  # percentiles that become black and white, as in pfstmo


def fattal2002(
    picture: FloatArray,
    scene: Statistics,
    *,
    alpha: float,
    beta: float,
    gamma: float,
    noise: float,
    detail_level: float,
) -> FloatArray:
    """Luminance (H, W) to display luminance: large gradients of log luminance made smaller.

    The gradient is multiplied by Phi (section 4), the product over the levels of a Gaussian
    pyramid of (|grad H_k| / a_k)^(beta - 1), a_k = ``alpha`` times the level's mean gradient, and
    the picture with the gradients nearest to these solves a Poisson equation (eq. 3). ``noise``:
    log gradients up to about this are amplified no more than it is. ``gamma``: exponent of the
    result's luminance. ``detail_level``: so many of the finest levels are left alone, as pfstmo
    can (0 in the paper).
    """
    if not picture.max(initial=0.0) > 0:
        return np.zeros_like(picture)
    logs = log_luminance(picture)
    attenuation = _attenuation(logs, alpha, beta, noise, round(detail_level))
    logs = _divergence(logs, attenuation)
    del attenuation
    logs = solve_poisson(logs)

    def power(rows: slice) -> None:
        np.exp(np.float32(gamma) * logs[rows], out=logs[rows])

    in_bands(logs.shape, power)
    step = max(1, int((logs.size / 1_000_000) ** 0.5))
    low, high = (float(v) for v in np.percentile(logs[::step, ::step], _ENDS))
    low = low if high > low else 0.0  # a picture of one tone is white
    scale = np.float32(scene.exposure / (high - low))

    def band(rows: slice) -> None:
        part = logs[rows]
        part -= np.float32(low)
        part *= scale
        np.maximum(part, 0, out=part)

    in_bands(logs.shape, band)
    return logs


def _attenuation(
    logs: FloatArray, alpha: float, beta: float, noise: float, spared: int
) -> FloatArray:
    """Phi (section 4), from the coarsest level to the finest."""
    import cv2

    pyramid = [logs]
    while min(pyramid[-1].shape) >= 2 * _COARSEST:
        pyramid.append(np.asarray(cv2.pyrDown(pyramid[-1])))
    phi: FloatArray | None = None
    for k in range(len(pyramid) - 1, -1, -1):
        level = pyramid.pop()
        if k >= spared or phi is None:
            factor = _scaling(level, 2.0 ** (k + 1), alpha, beta, noise)
        else:
            factor = np.ones_like(level)
        if phi is not None:
            height, width = level.shape
            factor *= cv2.resize(phi, (width, height), interpolation=cv2.INTER_LINEAR)
        phi = factor
    return logs if phi is None else phi


def _scaling(
    level: FloatArray, distance: float, alpha: float, beta: float, noise: float
) -> FloatArray:
    """phi_k: (|grad| / a)^(beta - 1) with central differences over ``distance`` pixels."""
    size = np.empty_like(level)
    height = level.shape[0]

    def gradient(rows: slice) -> None:
        above = np.maximum(np.arange(rows.start, rows.stop) - 1, 0)
        below = np.minimum(np.arange(rows.start, rows.stop) + 1, height - 1)
        down = level[below] - level[above]
        across = np.zeros_like(down)
        across[:, 1:-1] = level[rows, 2:] - level[rows, :-2]
        if level.shape[1] > 1:
            across[:, 0] = level[rows, 1] - level[rows, 0]
            across[:, -1] = level[rows, -1] - level[rows, -2]
        down *= down
        across *= across
        down += across
        size[rows] = np.sqrt(down, out=down) * np.float32(1 / distance)

    in_bands(level.shape, gradient)
    mean = max(float(size.mean(dtype=np.float64)), 1e-6)
    scale = np.float32(1 / (alpha * mean))
    floor = np.float32(max(noise, 1e-4))

    def power(rows: slice) -> None:
        part = size[rows]
        part += floor
        part *= scale
        np.log(part, out=part)
        part *= np.float32(beta - 1)
        np.exp(part, out=part)

    in_bands(level.shape, power)
    return size


def _divergence(logs: FloatArray, phi: FloatArray) -> FloatArray:
    """div G, G = grad H times Phi between the pixels; nothing flows over the border."""
    height, width = logs.shape
    result = np.empty_like(logs)

    def band(rows: slice) -> None:
        # one more row on each side, repeated at the border: no gradient there
        index = np.clip(np.arange(rows.start - 1, rows.stop + 1), 0, height - 1)
        h, f = logs[index], phi[index]
        down = (h[1:] - h[:-1]) * (f[1:] + f[:-1])
        part = down[1:] - down[:-1]
        h, f = h[1:-1], f[1:-1]
        across = (h[:, 1:] - h[:, :-1]) * (f[:, 1:] + f[:, :-1])
        if width > 1:
            part[:, :-1] += across
            part[:, 1:] -= across
        result[rows] = part * np.float32(0.5)

    in_bands(logs.shape, band)
    return result


def solve_poisson(divergence: FloatArray) -> FloatArray:
    """The plane (H, W) of this Laplacian (five points, no flow over the border), its mean about 0.

    Directly, by the cosine transform, in which the Laplacian is a factor: 2 cos(pi i / H) - 2 +
    2 cos(pi j / W) - 2. The plane is extended to a size that the transform likes; where it is, the
    Laplacian is 0 and the solution goes on smoothly.
    """
    import cv2

    height, width = divergence.shape
    rows, columns = _transformable(height), _transformable(width)
    plane = cv2.copyMakeBorder(
        divergence, 0, rows - height, 0, columns - width, cv2.BORDER_CONSTANT, value=0
    )
    # a Laplacian without flow over the border has a sum of 0; rounding must not become a slope
    plane -= np.float32(divergence.sum(dtype=np.float64) / plane.size)
    plane = np.asarray(cv2.dct(plane))
    down = (2 * np.cos(np.pi * np.arange(rows) / rows) - 2).astype(np.float32)[:, None]
    across = (2 * np.cos(np.pi * np.arange(columns) / columns) - 2).astype(np.float32)

    def band(part: slice) -> None:
        factor = down[part] + across
        if part.start == 0:
            factor[0, 0] = 1
            plane[0, 0] = 0
        plane[part] /= factor

    in_bands(plane.shape, band)
    return np.asarray(cv2.dct(plane, flags=cv2.DCT_INVERSE))[:height, :width]


def _transformable(size: int) -> int:
    """The smallest even size >= ``size`` for which the transform is fast."""
    import cv2

    return 2 * int(cv2.getOptimalDFTSize((size + 1) // 2))
