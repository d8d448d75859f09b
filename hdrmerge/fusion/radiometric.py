"""The explicit merge: noise-optimal mean of what each frame says about each pixel's radiance."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hdrmerge.frames import Decisions, ExposureStack, FloatArray, RadianceMap
from hdrmerge.fusion.noise import NoiseModel

BAND = 256
ROLL_OFF = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """The radiance; the fraction of pixels clipped in every frame; the fraction filled."""

    radiance: RadianceMap
    clipped_everywhere: float
    filled: float


def fuse(
    stack: ExposureStack,
    decisions: Decisions | None,
    noise: NoiseModel,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> Fused:
    """Merge a stack; the reference's saturation is 1."""
    height, width = stack.shape
    radiance = np.empty((height, width, 3), np.float32)
    bands = [(a, min(a + BAND, height)) for a in range(0, height, BAND)]
    done = 0
    clipped = filled = 0.0
    with ThreadPoolExecutor(2) as pool:
        for c, f in pool.map(lambda b: _fuse_band(stack, decisions, noise, radiance, *b), bands):
            done += 1
            clipped += c
            filled += f
            if progress is not None:
                progress("fuse", done / len(bands))
    total = float(height * width)
    return Fused(RadianceMap(radiance), clipped / total, filled / total)


def _resample(proxy: FloatArray, start: int, stop: int, height: int, width: int) -> FloatArray:
    """Rows ``start:stop`` of a proxy plane brought to (height, width) bilinearly."""
    import cv2

    h, w = proxy.shape[:2]
    if (h, w) == (height, width):
        return proxy[start:stop]
    sx, sy = w / width, h / height
    matrix = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (start + 0.5) * sy - 0.5]])
    return np.asarray(
        cv2.warpAffine(
            proxy,
            matrix,
            (width, stop - start),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def _fuse_band(
    stack: ExposureStack,
    decisions: Decisions | None,
    noise: NoiseModel,
    out: FloatArray,
    start: int,
    stop: int,
) -> tuple[float, float]:
    height, width = stack.shape
    reference = stack.reference
    samples: list[FloatArray] = []
    weights: list[FloatArray] = []
    coverage = np.zeros((stop - start, width), np.float32)
    clipped = np.ones((stop - start, width), bool)
    for k in range(len(stack)):
        x, valid = stack.linear(k, slice(start, stop))
        top = x.max(axis=2)
        roll = np.clip((1.0 - top) / np.float32(ROLL_OFF), 0.0, 1.0)
        clipped &= (roll == 0) | ~valid
        if k == 0:
            roll = np.maximum(roll, np.float32(1e-3))
        if decisions is None or k == reference:
            trust = valid.astype(np.float32)
        else:
            trust = _resample(decisions.trust[k], start, stop, height, width) * valid
        use = (roll > 0) * trust if k == 0 else roll * trust
        np.maximum(coverage, use, out=coverage)
        samples.append(x)
        weights.append((roll * trust).astype(np.float32))
    t = stack.exposures.astype(np.float32)
    total = sum(w[..., None] * x for w, x in zip(weights, samples, strict=True))
    scale = sum(w * tk for w, tk in zip(weights, t, strict=True))
    first = total / np.maximum(scale, 1e-12)[..., None]
    total = np.zeros_like(first)
    scale3 = np.zeros_like(first)
    for k, (x, w) in enumerate(zip(samples, weights, strict=True)):
        weight = w[..., None] * t[k] ** 2 / noise.variance(first * t[k], k)
        total += weight * (x / t[k])
        scale3 += weight
    merged = total / np.maximum(scale3, 1e-20)
    fallback = np.maximum(samples[reference], 0.0)
    filled = 0.0
    if decisions is not None and decisions.fill is not None and decisions.fill_weight is not None:
        fill = _resample(decisions.fill, start, stop, height, width)
        amount = _resample(decisions.fill_weight, start, stop, height, width)
        filled = float(np.sum(amount * (1.0 - np.minimum(coverage * 2, 1.0)) > 0.5))
        fallback = fallback + amount[..., None] * np.maximum(fill - fallback, 0.0)
    covered = np.minimum(coverage * 2.0, 1.0)[..., None]
    merged = merged * covered + fallback * (1.0 - covered)
    frame = stack.frames[reference]
    merged *= np.asarray(frame.white_balance, np.float32)
    if not np.array_equal(frame.to_rec709, np.eye(3)):
        merged = merged @ frame.to_rec709.astype(np.float32).T
    np.maximum(merged, 0.0, out=out[start:stop])
    return float(np.sum(clipped)), filled
