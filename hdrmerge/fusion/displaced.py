"""What the reference clips and a shorter frame shows elsewhere: found there and brought back.

A bright thing that moved is clipped in the reference and unclipped, but displaced, in a shorter
frame. Both frames are cut at the reference's saturation, so that they look alike, and compared
over displacements (block matching with truncated differences). Only pixels in which the two frames
contradict each other have a say, those at rims and in textures most: the inside of a clipped thing
looks like anything, its silhouette does not. Votes are counted over windows of three sizes, first
at an eighth of the resolution, then at a quarter about what was found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.fusion.fill import halved
from hdrmerge.stack import ExposureStack

_REACH = 9  # cells of eight pixels that are searched each way
_NEAR = 2  # cells of four pixels about what the coarse search found
_WINDOWS = (1, 3, 6)  # radii of the windows, in cells
_ALIKE = (0.10, 0.08)  # differences of encoded values that are none any more, coarse and fine
_RIM = np.float32(0.15)  # contrast in 3 x 3 cells that counts wholly
_FLAT = np.float32(0.03)  # and how much cells without any contrast count
_FEW = np.float32(0.004)  # votes that are too few to mean anything
_AGREED = (0.5, 0.6)  # share of the votes that make a displacement believed, not at all and wholly
_SMOOTH = 2.0  # cells by which neighbours may differ
_BRIGHT = np.float32(0.9)  # of the reference's saturation: what it clips is no darker
_STILL = 0.7  # trust with which a frame shows what the reference shows, both unclipped


def borrow(
    stack: ExposureStack,
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
    fill: FloatArray,
) -> FloatArray:
    """``fill`` (h, w, 3) with what the nearest two shorter frames show displaced, where they
    believably do; arguments as of ``fill_clipped``. Reaches 72 pixels each way."""
    reference = stack.reference
    shown = trust[reference - 1] * below[reference - 1]
    for k in range(reference - 1):
        shown = np.maximum(shown, trust[k] * below[k])
    lost = (below[reference] < 0.5) & (shown < 0.5)
    sources = range(max(0, reference - 2), reference)
    if not lost.any():
        return fill
    seen = _encoded(linear[reference])
    unclipped = halved(halved(below[reference]))
    best = np.zeros(lost.shape, np.float32)
    found = fill
    for k in reversed(sources):
        radiance = linear[k] / np.float32(stack.exposures[k])
        small = halved(halved(trust[k]))
        still = ((small > _STILL) & (unclipped > _STILL)).astype(np.float32)
        flow, agreed = _search(seen, _encoded(radiance), 1.0 - small, still)
        content, believed = _looked_up(radiance, flow, agreed)
        better = believed > best
        found = np.where(better[..., None], np.maximum(content, 1.0), found)
        best = np.maximum(best, believed)
    share = _softened(best)[..., None]
    return np.asarray(np.exp(np.log(fill) * (1.0 - share) + np.log(found) * share), np.float32)


def _encoded(radiance: FloatArray) -> FloatArray:
    """What the reference could tell of radiance (h, w, 3), a quarter of the size, in [0, 1]."""
    return np.asarray(np.power(np.clip(halved(halved(radiance)), 0.0, 1.0), 1 / 2.2), np.float32)


def _search(
    seen: FloatArray, there: FloatArray, rejected: FloatArray, still: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Displacement (h, w, 2) in cells at which ``there`` shows what ``seen`` does, and the share
    of votes (h, w) that agree; ``rejected``: who votes; ``still`` = 1: where nothing went to."""
    height, width = rejected.shape
    reach = range(-_REACH, _REACH + 1)
    steps = np.array([(x, y) for y in reach for x in reach], np.float32)
    coarse = [halved(image) for image in (seen, there, rejected, still)]
    index, _ = _elected(coarse, steps, np.zeros((*coarse[2].shape, 2), np.float32), _ALIKE[0])
    start = 2.0 * steps[index].repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    near = range(-_NEAR, _NEAR + 1)
    steps = np.array([(x, y) for y in near for x in near], np.float32)
    index, agreed = _elected([seen, there, rejected, still], steps, start, _ALIKE[1])
    return np.asarray(start + steps[index], np.float32), agreed


def _elected(
    images: Sequence[FloatArray], steps: FloatArray, start: FloatArray, alike: float
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.intp]], FloatArray]:
    """The index (h, w) of the step from ``start`` with most votes, and its share of them."""
    import cv2

    seen, there, rejected, still = images
    contrast = cv2.morphologyEx(seen, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(axis=2)
    votes = rejected * (np.minimum(contrast / _RIM, 1.0) + _FLAT)
    sizes = [(2 * radius + 1, 2 * radius + 1) for radius in _WINDOWS]
    every = [1.0 / (cv2.blur(votes, size) + _FEW) / len(sizes) for size in sizes]
    mean = np.full((1, 3), 1.0 / (3.0 * alike), np.float32)
    y, x = np.indices(votes.shape, np.float32)
    x, y = x + start[..., 0], y + start[..., 1]
    best = np.full(votes.shape, -1.0, np.float32)
    index = np.zeros(votes.shape, np.intp)
    for i, (dx, dy) in enumerate(steps):
        moved = cv2.remap(there, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        free = cv2.remap(
            still, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1.0
        )
        differs = cv2.transform(cv2.absdiff(seen, moved), mean)
        match = np.maximum(1.0 - differs, 0.0) * (1.0 - free) * votes
        share = np.zeros_like(best)
        for size, scale in zip(sizes, every, strict=True):
            share += cv2.blur(match, size) * scale
        better = share > best
        index[better] = i
        np.maximum(best, share, out=best)
    return index, best


def _looked_up(
    radiance: FloatArray, flow: FloatArray, agreed: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Displaced radiance (h, w, 3) and how far (h, w) in [0, 1] it is believed."""
    import cv2

    height, width = radiance.shape[:2]
    size = (4 * flow.shape[1], 4 * flow.shape[0])  # cells at the border may reach beyond it

    def grown(image: FloatArray) -> FloatArray:
        return np.asarray(cv2.resize(image, size)[:height, :width])

    smooth = np.dstack([cv2.medianBlur(np.ascontiguousarray(flow[..., i]), 5) for i in (0, 1)])
    rough = np.abs(flow - smooth).max(axis=2)
    pixels = grown(smooth) * 4.0
    y, x = np.indices((height, width), np.float32)
    border = cv2.BORDER_REPLICATE
    across, down = x + pixels[..., 0], y + pixels[..., 1]
    content = cv2.remap(radiance, across, down, cv2.INTER_LINEAR, borderMode=border)
    believed = np.clip((grown(agreed) - _AGREED[0]) / (_AGREED[1] - _AGREED[0]), 0.0, 1.0)
    believed *= (grown(rough) < _SMOOTH) & (content.max(axis=2) > _BRIGHT)
    return content, np.asarray(believed, dtype=np.float32)


def _softened(believed: FloatArray) -> FloatArray:
    """Without specks, and with soft edges."""
    import cv2

    whole = cv2.morphologyEx(believed, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.GaussianBlur(whole, (0, 0), 2.0), dtype=np.float32)
