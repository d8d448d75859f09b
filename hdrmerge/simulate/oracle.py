"""What a merge that knows the truth would reach: the rows every other row is measured against."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.simulate.bracket import SimulatedBracket
from hdrmerge.simulate.camera import inverse_curve
from hdrmerge.simulate.geometry import inside

Fallback = Literal["clipped", "truth"]


def linear_frame(bracket: SimulatedBracket, k: int) -> FloatArray:
    """Frame k through the true inverse response, in its own geometry: (H, W, 3), linear Rec.709.

    1 = saturation (of the least sensitive channel for RAW, whose other channels then pass 1).
    """
    frame = bracket.frames[k]
    if frame.encoding == "linear":
        balanced = frame.fraction(frame.pixels) * np.array(frame.white_balance, np.float32)
        return np.asarray(balanced @ frame.to_rec709.T.astype(np.float32), dtype=np.float32)
    curve = inverse_curve(bracket.config.response, int(frame.white) + 1)
    return np.stack([curve[frame.pixels[..., c], c] for c in range(3)], axis=-1)


def linear_frames(bracket: SimulatedBracket) -> tuple[list[FloatArray], NDArray[np.bool_]]:
    """Each frame's linear values (H, W, 3) in the reference's geometry, by the true homographies,
    and where the frame saw anything (N, H, W)."""
    import cv2

    height, width = bracket.truth.shape[:2]
    seen = np.stack([inside(h, (height, width)) for h in bracket.homographies])
    out = []
    for k, matrix in enumerate(bracket.homographies):
        linear = linear_frame(bracket, k)
        if not np.array_equal(matrix, np.eye(3)):
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            linear = np.asarray(cv2.warpPerspective(linear, matrix, (width, height), flags=flags))
        out.append(linear)
    return out, seen


def single_frame(bracket: SimulatedBracket, k: int) -> FloatArray:
    """Radiance (H, W, 3) from frame k alone, in its own geometry."""
    return np.asarray(linear_frame(bracket, k) / np.float32(bracket.exposures[k]), np.float32)


def plain_merge(bracket: SimulatedBracket) -> FloatArray:
    """The noise-optimal merge of unclipped samples, blind to motion, with everything else known."""
    linear, seen = linear_frames(bracket)
    usable = np.stack([x.max(axis=2) < 0.95 for x in linear]) & seen
    return _merge(bracket, linear, usable, _ceiling(bracket, linear, seen))


def oracle(bracket: SimulatedBracket, fallback: Fallback = "clipped") -> FloatArray:
    """The noise-optimal merge over samples that truly show the reference's content, unclipped.

    Where there is none: the highest clipped value among frames that show the right content
    (``clipped``), or the truth (``truth``, what a perfect fill would add).
    """
    linear, seen = linear_frames(bracket)
    valid = bracket.valid & seen & np.stack([x.max(axis=2) < 1.0 for x in linear])
    if fallback == "truth":
        return _merge(bracket, linear, valid, bracket.truth)
    return _merge(bracket, linear, valid, _ceiling(bracket, linear, seen & bracket.same))


def _ceiling(
    bracket: SimulatedBracket, linear: list[FloatArray], usable: NDArray[np.bool_]
) -> FloatArray:
    """The largest radiance that a usable frame reports: the shortest one's clipped value."""
    out = np.zeros_like(linear[0])
    for x, t, mask in zip(linear, bracket.exposures, usable, strict=True):
        np.maximum(out, np.where(mask[..., None], x / np.float32(t), 0.0), out=out)
    return out


def _merge(
    bracket: SimulatedBracket,
    linear: list[FloatArray],
    usable: NDArray[np.bool_],
    otherwise: FloatArray,
) -> FloatArray:
    """Inverse-variance mean of usable samples, variances from a first Poisson-weighted mean
    (Hanji et al. 2020, then Granados 2010, eq. 6); ``otherwise`` where there is none."""
    fw, read = bracket.config.full_well, bracket.config.read_noise
    floor = (read / fw) ** 2
    if bracket.frames[0].pixels.dtype == np.uint8:
        floor += (1 / 255) ** 2 / 12 * 0.05  # quantisation in the shadows, where codes are fine
    exposures = [np.float32(t) for t in bracket.exposures]
    total = sum(np.where(m[..., None], x, 0.0) for x, m in zip(linear, usable, strict=True))
    times = sum(m * t for m, t in zip(usable, exposures, strict=True))
    first = np.maximum(np.asarray(total) / np.maximum(np.asarray(times), 1e-9)[..., None], 0.0)
    value = np.zeros_like(first)
    weight = np.zeros_like(first)
    for x, t, mask in zip(linear, exposures, usable, strict=True):
        w = mask[..., None] * t * t / (first * t / np.float32(fw) + np.float32(floor))
        value += w * (x / t)
        weight += w
    merged = value / np.maximum(weight, 1e-20)
    return np.asarray(np.where(weight > 0, merged, otherwise), dtype=np.float32)
