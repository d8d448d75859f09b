"""Rejections extended over moving things where the reference clips and cannot tell.

A bright thing in front of a bright background that the reference clips both is no contradiction to
it: a shorter frame that shows the thing is trusted there, and the thing appears twice. But often
part of it lies over something darker and is found out. The rest belongs to it where nothing in the
shorter frame separates the two: flat regions of that frame, at rising thresholds of what an edge is
(the components that a watershed joins, Vincent & Soille 1991), are told by what they hold: pixels
that are known to stand still, or that are rejected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray, brightest

Mask = NDArray[np.bool_]

_EDGES = (2.5, 4.0, 6.0, 9.0, 13.0, 20.0)  # standard deviations across 3 x 3 that part regions
_LEAST_EDGE = np.float32(0.02)  # relative: no finer texture is an edge
_RIM = 5  # pixels that stand still vouch for so many beside them that the reference clips
_AWAY = 4  # but none so near to what is rejected
_WITNESSES = 4  # pixels that stand still and keep a region trusted,
_WITNESS_SHARE = 0.01  # or such a share of it
_FEWEST = 12  # rejected pixels that have a region follow them,
_AT_MOST = 5.0  # and how many times as many may follow
_SPECK = 25  # pixels of an extension that are not worth it


def extended(
    trust: FloatArray, radiance: FloatArray, deviation: FloatArray, clips: FloatArray
) -> FloatArray:
    """``trust`` (h, w) of a shorter frame, lowered where a moving thing reaches into what the
    reference clips.

    ``radiance`` (h, w, 3) that the frame shows with its standard deviation ``deviation``, both of
    half the resolution, as is ``clips`` in [0, 1]: how far the reference clips.
    """
    import cv2

    size = clips.shape[::-1]
    small = np.asarray(cv2.resize(trust, size, interpolation=cv2.INTER_AREA))
    clipped, rejected = clips > 0.5, small < 0.5
    if not (clipped & ~rejected).any() or not (rejected & (brightest(radiance) > 0.5)).any():
        return trust
    free = ~_grown(rejected, _AWAY)
    still = _grown((small > 0.9) & ~clipped & free, _RIM) & (small > 0.9) & free
    open_ = clipped & ~rejected & ~still
    label = _regions(radiance, deviation, still, rejected, open_)
    joined = ((label < 0) & (open_ | rejected)) | rejected
    closed = cv2.morphologyEx(joined.astype(np.uint8), cv2.MORPH_CLOSE, _disc(3)) > 0
    more = closed & ~still & (label <= 0) & ~rejected
    _, labels, shapes, _ = cv2.connectedComponentsWithStats(more.astype(np.uint8), connectivity=8)
    large = shapes[:, cv2.CC_STAT_AREA] >= _SPECK
    large[0] = False
    if not large.any():
        return trust
    mask = cv2.dilate(large[labels].astype(np.uint8), _disc(2)).astype(np.float32) * clipped
    mask = cv2.GaussianBlur(cv2.resize(mask, trust.shape[::-1]), (0, 0), 1.0)
    return np.asarray(trust * (1.0 - np.clip(1.2 * mask, 0.0, 1.0)), dtype=np.float32)


def _regions(
    radiance: FloatArray, deviation: FloatArray, still: Mask, rejected: Mask, open_: Mask
) -> NDArray[np.int8]:
    """1: part of what stands still; -1: part of something that moves; 0: nobody knows."""
    import cv2

    smooth = cv2.GaussianBlur(radiance, (0, 0), 1.0)
    edge = cv2.morphologyEx(smooth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edge /= np.sqrt(np.square(deviation) / 5.0 + np.square(_LEAST_EDGE * np.maximum(smooth, 0.0)))
    strongest = brightest(edge)
    label = still.astype(np.int8)
    kind = still + np.int32(2) * rejected + np.int32(3) * open_  # they exclude each other
    for least in _EDGES:
        flat = (strongest < least).astype(np.uint8)
        count, labels = cv2.connectedComponents(flat, connectivity=4)
        kinds = np.bincount((np.int32(4) * labels + kind).ravel(), minlength=4 * count)
        _, stand, move, either = kinds.reshape(count, 4).T
        stands = stand >= np.maximum(_WITNESSES, _WITNESS_SHARE * (move + either))
        moves = ~stands & (move >= _FEWEST) & (move * _AT_MOST >= either)
        stands[0] = moves[0] = False  # the edges
        verdict = stands.astype(np.int8) - moves.astype(np.int8)
        np.copyto(label, verdict[labels], where=label == 0)
    return label


def _grown(mask: Mask, radius: int) -> Mask:
    import cv2

    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disc(radius)) > 0)


def _disc(radius: int) -> NDArray[np.uint8]:
    import cv2

    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
