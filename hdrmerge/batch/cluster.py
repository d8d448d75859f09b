"""Shots without a known order, gathered into brackets by what they show.

For files whose clock or metadata are missing or all alike and whose names were changed: shots of
one scene at different exposures are a bracket.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hdrmerge.batch.scan import Photo
from hdrmerge.batch.sequence import LONGEST, SAME_SCENE, SAME_STOPS, even_steps

MOST = 8000  # shots that are compared each with each: 256 MB of likeness
_LINK = 0.55  # likeness that begins a cluster; members need SAME_SCENE on average
_SAME_NAME = 0.08  # what a common prefix of the names adds
_SURE = 0.75  # likeness from which uneven exposures do not matter
SAME_BRIGHT = 0.03  # stops of brightness that are none, where EXIF knows nothing
_FROZEN = 0.3  # stops of brightness that contradict two exposures that EXIF says are the same
_CLEAR = 0.12  # by which a shot must be liker to its own cluster than to any other


def cluster(
    photos: Sequence[Photo],
    stops: NDArray[np.float64],
    brightness: NDArray[np.float64],
    likeness: NDArray[np.float32],
) -> list[tuple[list[int], bool]]:
    """Clusters of two or more shots (indices), and whether each is set apart from all others.

    ``stops`` (N,) by EXIF, NaN where unknown; ``brightness`` (N,) of the pictures in stops;
    ``likeness`` (N, N) symmetric, NaN where unknown. The likest are joined first, as long as no
    exposure repeats.
    """
    bonus = np.nan_to_num(likeness, nan=-1.0)
    for members in _prefixes(photos).values():
        if 2 <= len(members) <= LONGEST:
            bonus[np.ix_(members, members)] += _SAME_NAME
    same = _same_exposure(stops, brightness)
    rows, columns = np.nonzero(np.triu(bonus, 1) >= _LINK)
    order = np.argsort(-bonus[rows, columns], kind="stable")
    label = list(range(len(photos)))
    members_of = {k: [k] for k in label}
    for at in order:
        a, b = label[rows[at]], label[columns[at]]
        if a == b or len(members_of[a]) + len(members_of[b]) > LONGEST:
            continue
        block = np.ix_(members_of[a], members_of[b])
        cross = float(np.nanmean(likeness[block]))
        both = members_of[a] + members_of[b]
        if same[block].any() or cross < SAME_SCENE or (cross < _SURE and _uneven(stops[both])):
            continue
        for k in members_of[b]:
            label[k] = a
        members_of[a] = both
        del members_of[b]
    return [
        (sorted(members, key=lambda k: brightness[k]), _apart(members, bonus))
        for members in members_of.values()
        if len(members) > 1
    ]


def _same_exposure(
    stops: NDArray[np.float64], brightness: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(N, N): whether two shots cannot both be in a bracket; EXIF that never changes may err."""
    exif = np.abs(stops[:, None] - stops)
    seen = np.abs(brightness[:, None] - brightness)
    found = np.where(np.isnan(exif), seen < SAME_BRIGHT, (exif < SAME_STOPS) & (seen < _FROZEN))
    return np.asarray(found)


def _uneven(stops: NDArray[np.float64]) -> bool:
    steps = np.diff(np.sort(stops[~np.isnan(stops)]))
    return len(steps) > 1 and not even_steps(list(steps))


def _apart(members: list[int], likeness: NDArray[np.float32]) -> bool:
    """Whether every member is clearly liker to another member than to any stranger."""
    inside = likeness[np.ix_(members, members)].copy()
    np.fill_diagonal(inside, -1.0)
    outside = likeness[members].copy()
    outside[:, members] = -1.0
    margin = inside.max(axis=1) - outside.max(axis=1)
    return bool(margin.min() >= _CLEAR)


def _prefixes(photos: Sequence[Photo]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for k, photo in enumerate(photos):
        found[photo.folder, photo.prefix].append(k)
    return found
