"""Homography of each frame to the reference frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import ExposureStack, Frame, Matrix

Kind = Literal["homography", "affine", "translation", "none", "reference"]
_PROXY_PIXELS = 1_500_000


@dataclass(frozen=True, slots=True)
class AlignmentNote:
    """What was done to one frame, and why, in words for the report."""

    kind: Kind
    note: str


def align(
    stack: ExposureStack, *, progress: Callable[[str, float], None] | None = None
) -> tuple[Matrix, tuple[AlignmentNote, ...]]:
    """Homographies (N, 3, 3) from reference to frame coordinates, and a note for each frame."""
    import cv2

    homographies = np.repeat(np.eye(3)[None], len(stack), axis=0)
    notes: list[AlignmentNote] = []
    scale = min(1.0, (_PROXY_PIXELS / (stack.shape[0] * stack.shape[1])) ** 0.5)
    detector = cv2.ORB_create(4000, fastThreshold=5)
    features = [detector.detectAndCompute(_proxy(f, scale), None) for f in stack.frames]
    reference_points, reference_words = features[stack.reference]
    for k, (points, words) in enumerate(features):
        if k == stack.reference:
            notes.append(AlignmentNote("reference", ""))
            continue
        note = AlignmentNote("none", "too few features")
        if words is not None and reference_words is not None:
            matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(reference_words, words)
            if len(matches) >= 20:
                a = np.array([reference_points[m.queryIdx].pt for m in matches])
                b = np.array([points[m.trainIdx].pt for m in matches])
                found, inliers = cv2.findHomography(a, b, cv2.USAC_MAGSAC, 2.5)
                if found is not None and inliers.sum() >= 20:
                    s = np.array(
                        [[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]]
                    )
                    homographies[k] = np.linalg.inv(s) @ found @ s
                    homographies[k] /= homographies[k, 2, 2]
                    note = AlignmentNote("homography", f"{int(inliers.sum())} matches")
        notes.append(note)
        if progress:
            progress("align", (k + 1) / len(stack))
    return homographies, tuple(notes)


def _proxy(frame: Frame, scale: float) -> NDArray[np.uint8]:
    import cv2

    grey = np.ascontiguousarray(frame.fraction(frame.pixels[..., 1]))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = np.clip(grey, 0, 1)
    if frame.encoding == "linear":
        grey = grey**0.45
    codes = np.round(255 * grey).astype(np.uint8)
    contrast: NDArray[np.uint8] = cv2.createCLAHE(8.0, (12, 8)).apply(codes)
    return contrast
