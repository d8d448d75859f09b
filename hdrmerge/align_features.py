"""Where alignment starts: ORB features spread evenly, matched and fitted robustly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdrmerge.align_refine import Float64, Mask, Proxy
from hdrmerge.frames import FloatArray, Matrix

_CELLS = (8, 12)
_PER_CELL = 16  # features of a cell that are matched
_SPARE = 60  # features of a cell that are described: which of them a pair can use is not known yet
_PATCH = 64  # px: smaller pictures hold no ORB feature
_CANDIDATES = 8000  # features detected
_SLACK = 8.0  # codes by which a feature may lie outside the range that both frames expose
_THRESHOLD = 2.5  # px that an inlier may miss by
_FEWEST = 12  # inliers that make a homography believable


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """K features, each cell's strongest first: ``points`` (K, 2) px, ``words`` (K, 32) uint8
    descriptors, ``codes`` (K,) uint8 mean code around them, ``cells`` (K,) int."""

    points: Float64
    words: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    cells: NDArray[np.intp]


def find_features(proxy: Proxy, enlarge: float = 1.0) -> Features:
    """Up to 60 features in each of 8 x 12 cells, where the frame is neither clipped nor black;
    points are those of a picture ``enlarge`` times as large.

    Local contrast is equalised first (CLAHE), which makes a scene look alike under any exposure.
    """
    import cv2

    empty = np.zeros(0, np.uint8)
    none = Features(np.zeros((0, 2)), np.zeros((0, 32), np.uint8), empty, np.zeros(0, np.intp))
    if min(proxy.codes.shape) < _PATCH:
        return none
    picture = cv2.createCLAHE(8.0, _CELLS[::-1]).apply(proxy.codes)
    orb = cv2.ORB.create(_CANDIDATES, fastThreshold=5)
    found = orb.detect(picture, proxy.usable)
    if not found:
        return none
    cells = _cells(np.asarray(cv2.KeyPoint.convert(found), np.float64), proxy.codes.shape)
    order = np.lexsort((-np.array([k.response for k in found]), cells))
    kept = order[_rank(cells[order]) < _SPARE]
    found, words = orb.compute(picture, [found[i] for i in kept])
    if words is None:
        return none
    points = np.asarray(cv2.KeyPoint.convert(found), np.float64)
    x, y = np.round(points).astype(int).T
    codes = cv2.blur(proxy.codes, (9, 9))[y, x]
    cells = _cells(points, proxy.codes.shape)
    return Features(enlarge * (points + 0.5) - 0.5, words, codes, cells)


def match_features(reference: Features, frame: Features, tones: FloatArray) -> list[Matrix]:
    """Homographies, reference to frame, that many matches agree on: none, one or two.

    ``tones`` (256,): the reference's code for each code of the frame; features that only one of
    the two exposes are left out. The second homography is fitted to what the first leaves over:
    where a textured object moves before a plain background, it may be the picture's.
    """
    import cv2

    low, high = max(4.0, tones[4]) - _SLACK, min(250.0, tones[250]) + _SLACK
    ours = _strongest(reference, reference.codes.astype(np.float32), low, high)
    theirs = _strongest(frame, tones[frame.codes], low, high)
    if min(np.count_nonzero(ours), np.count_nonzero(theirs)) < _FEWEST:
        return []
    first, second = _mutual(reference.words[ours], frame.words[theirs])
    a, b = reference.points[ours][first], frame.points[theirs][second]
    found: list[Matrix] = []
    for _ in range(2):
        if len(a) < _FEWEST:
            break
        homography, inliers = cv2.findHomography(a, b, cv2.USAC_MAGSAC, _THRESHOLD)
        if homography is None or np.count_nonzero(inliers) < _FEWEST:
            break
        found.append(homography)
        rest = inliers.ravel() == 0
        a, b = a[rest], b[rest]
    return found


def _mutual(
    ours: NDArray[np.uint8], theirs: NDArray[np.uint8]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the words that are each other's nearest in Hamming distance."""
    from hdrmerge.align_features_loops import nearest

    first, second = np.empty(len(ours), np.int64), np.empty(len(theirs), np.int64)
    columns = np.ascontiguousarray(np.ascontiguousarray(theirs).view(np.uint64).T)
    nearest(np.ascontiguousarray(ours).view(np.uint64), columns, first, second)
    mutual = np.flatnonzero(second[first] == np.arange(len(first)))
    return mutual, first[mutual]


def _strongest(features: Features, codes: FloatArray, low: float, high: float) -> Mask:
    """The strongest features of each cell whose codes lie within ``low`` and ``high``."""
    inside = (codes >= low) & (codes <= high)
    index = np.flatnonzero(inside)
    inside[index] = _rank(features.cells[index]) < _PER_CELL
    return np.asarray(inside)


def _cells(points: Float64, shape: tuple[int, ...]) -> NDArray[np.intp]:
    rows, columns = _CELLS
    row = np.floor(points[:, 1] * rows / shape[0])
    return np.asarray(row * columns + np.floor(points[:, 0] * columns / shape[1]), dtype=np.intp)


def _rank(cells: NDArray[np.intp]) -> NDArray[np.intp]:
    """Each element's place among the equal ones, which must be adjacent."""
    index = np.arange(len(cells))
    starts = np.concatenate([[True], cells[1:] != cells[:-1]])[: len(cells)]
    return np.asarray(index - np.maximum.accumulate(np.where(starts, index, 0)))
