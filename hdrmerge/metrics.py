"""How far a radiance map is from the truth: scores shared by tests, evaluation and training.

Everything here takes H (H, W, 3) float, linear radiance scaled so that the *shortest* frame's
saturation is 1; what lies outside [0, 1] is clipped, because no frame could have seen it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray

Mask = NDArray[np.bool_]

MU = 5000.0
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_PU21 = (
    0.353487901,
    0.3734658629,
    8.277049286e-5,
    0.9062562627,
    0.09150303166,
    0.9099517204,
    596.3148142,
)


@dataclass(frozen=True, slots=True)
class Scores:
    """One estimate in one region; dB except ``ssim_mu``. NaN where the region is empty.

    ``share`` is the region's part of the picture, 0..1.
    """

    psnr_mu: float
    psnr_linear: float
    ssim_mu: float
    pu21: float
    share: float


def mu_law(h: FloatArray, mu: float = MU) -> FloatArray:
    """log(1 + mu H) / log(1 + mu) of H clipped to [0, 1] (Kalantari & Ramamoorthi 2017, eq. 2)."""
    clipped = np.clip(h, 0.0, 1.0)
    return np.asarray(np.log1p(np.float32(mu) * clipped) / np.float32(np.log1p(mu)))


def pu21(luminance: FloatArray) -> FloatArray:
    """Perceptually uniform code of luminance in cd/m2 (Mantiuk & Azimi 2021, banding + glare).

    100 cd/m2 is near 256; defined on 0.005..10000 cd/m2, to which the input is clipped.
    """
    p = _PU21
    y = np.clip(luminance, 0.005, 10000.0).astype(np.float32) ** np.float32(p[3])
    v = p[6] * (((p[0] + p[1] * y) / (1 + p[2] * y)) ** np.float32(p[4]) - p[5])
    return np.asarray(np.maximum(v, 0.0), dtype=np.float32)


def psnr(a: FloatArray, b: FloatArray, mask: Mask | None = None, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over ``mask`` (H, W); NaN where the mask is empty."""
    error = np.asarray(a, np.float32) - np.asarray(b, np.float32)
    if mask is not None:
        error = error[mask]
    if error.size == 0:
        return float("nan")
    mse = float(np.mean(np.square(error, out=error), dtype=np.float64))
    return float("inf") if mse == 0 else float(10 * np.log10(peak**2 / mse))


def psnr_mu(h: FloatArray, truth: FloatArray, mask: Mask | None = None) -> float:
    """PSNR between mu-law images, mu = 5000."""
    return psnr(mu_law(h), mu_law(truth), mask)


def psnr_linear(h: FloatArray, truth: FloatArray, mask: Mask | None = None) -> float:
    """PSNR of linear radiance clipped to [0, 1]."""
    return psnr(np.clip(h, 0, 1), np.clip(truth, 0, 1), mask)


def ssim_map(a: FloatArray, b: FloatArray) -> FloatArray:
    """Structural similarity (Wang et al. 2004), 11 x 11 Gaussian of 1.5, (H, W, C) -> (H, W)."""
    import cv2

    def blur(x: FloatArray) -> FloatArray:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    num = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    den = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return np.asarray((num / den).mean(axis=2), dtype=np.float32)


def ssim_mu(h: FloatArray, truth: FloatArray, mask: Mask | None = None) -> float:
    """Mean structural similarity of the mu-law images over ``mask``; NaN where it is empty."""
    similarity = ssim_map(mu_law(h), mu_law(truth))
    values = similarity if mask is None else similarity[mask]
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")


def channel_scales(h: FloatArray, truth: FloatArray, static: Mask | None = None) -> FloatArray:
    """(3,) factors that bring ``h`` to the truth: per-channel medians over well-exposed pixels.

    Well exposed: the truth in [0.004, 0.8] in every channel, and the pixel in ``static``.
    """
    good = (truth.min(axis=2) > 0.004) & (truth.max(axis=2) < 0.8) & (h.min(axis=2) > 0)
    if static is not None:
        good &= static
    if np.count_nonzero(good) < 64:
        good = (truth.max(axis=2) < 0.9) & (truth.min(axis=2) > 0) & (h.min(axis=2) > 0)
    if not good.any():
        return np.ones(3, np.float32)
    ratio = truth[good] / h[good]
    return np.asarray(np.median(ratio, axis=0), dtype=np.float32)


def align_scale(h: FloatArray, truth: FloatArray, static: Mask | None = None) -> FloatArray:
    """``h`` times the one factor that fits the truth best on static, well-exposed pixels."""
    factor = np.float32(channel_scales(h, truth, static) @ _LUMA)
    return np.asarray(h * factor, dtype=np.float32)


def colour_cast(h: FloatArray, truth: FloatArray, static: Mask | None = None) -> float:
    """Largest over smallest channel scale: 1 = no cast."""
    scales = channel_scales(h, truth, static)
    return float(scales.max() / scales.min())


def harm_rate(
    h: FloatArray, plain: FloatArray, truth: FloatArray, static: Mask, margin: float = 0.01
) -> float:
    """Share of static pixels whose mu-law error exceeds the plain merge's by ``margin``.

    Errors are means over the channels; deghosting should leave static pixels alone, so this is
    what it costs where nothing moves.
    """
    target = mu_law(truth)
    worse = np.abs(mu_law(h) - target).mean(axis=2) - np.abs(mu_law(plain) - target).mean(axis=2)
    values = worse[static]
    return float(np.mean(values > margin)) if values.size else float("nan")


def score(h: FloatArray, truth: FloatArray, regions: dict[str, Mask]) -> dict[str, Scores]:
    """All scores of an estimate, already scale-aligned, for each named region (H, W)."""
    ours, theirs = mu_law(h), mu_law(truth)
    similarity = ssim_map(ours, theirs)
    a, b = np.clip(h, 0, 1), np.clip(truth, 0, 1)
    pu_a, pu_b = pu21(a * np.float32(1000.0)), pu21(b * np.float32(1000.0))
    return {
        name: Scores(
            psnr_mu=psnr(ours, theirs, mask),
            psnr_linear=psnr(a, b, mask),
            ssim_mu=float(similarity[mask].mean(dtype=np.float64)) if mask.any() else float("nan"),
            pu21=psnr(pu_a, pu_b, mask, 256.0),
            share=float(mask.mean()),
        )
        for name, mask in regions.items()
    }
