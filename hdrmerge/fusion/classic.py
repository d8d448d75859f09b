"""Classical deghosting: which frames show, within the noise, what the reference shows."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import Decisions, ExposureStack
from hdrmerge.fusion.noise import NoiseModel

CLIP = 0.95


def decide(stack: ExposureStack, noise: NoiseModel) -> Decisions:
    """Trust of each frame against the reference, (N, h, w) at the stack's resolution."""
    import cv2

    n = len(stack)
    height, width = stack.shape
    trust = np.ones((n, height, width), np.float32)
    ref, _ = stack.linear(stack.reference)
    ref_clipped = ref >= CLIP
    for k in range(n):
        if k == stack.reference:
            continue
        t = float(stack.exposures[k])
        x, valid = stack.linear(k)
        clipped = x >= CLIP
        difference = x / t - ref
        variance = noise.variance(x, k) / t**2 + noise.variance(ref, stack.reference)
        variance += np.float32(0.05**2) * (ref * ref) + np.float32(1e-6)
        # a clipped value says only "at least this much"
        difference[ref_clipped & (difference > 0)] = 0
        difference[clipped & (difference < 0)] = 0
        ratio = (difference * difference / variance).sum(axis=2)
        pooled = cv2.blur(np.minimum(ratio, 60.0), (5, 5))
        rejected = cv2.GaussianBlur((pooled > 8.0).astype(np.float32), (0, 0), 2.0)
        trust[k] = np.clip(1.0 - 3.0 * rejected, 0.0, 1.0) * valid
    return Decisions(trust=trust)
