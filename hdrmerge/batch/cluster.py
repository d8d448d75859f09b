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
from hdrmerge.batch.sequence import LONGEST, SAME_SCENE

MOST = 8000  # shots that are compared each with each: 256 MB of likeness
_LINK = 0.55  # likeness that begins a cluster; members need SAME_SCENE on average
_SAME_NAME = 0.08  # what a common prefix of the names adds
_CLEAR = 0.12  # by which a shot must be liker to its own cluster than to any other


def cluster(
    photos: Sequence[Photo],
    stops: Sequence[float],
    likeness: NDArray[np.float32],
    same_stops: float,
) -> list[tuple[list[int], bool]]:
    """Clusters of two or more shots (indices), and whether each is set apart from all others.

    ``likeness`` (N, N) symmetric, NaN where unknown. The likest are joined first, as long as no
    exposure repeats.
    """
    bonus = np.nan_to_num(likeness, nan=-1.0)
    for members in _prefixes(photos).values():
        if 2 <= len(members) <= LONGEST:
            bonus[np.ix_(members, members)] += _SAME_NAME
    rows, columns = np.nonzero(np.triu(bonus, 1) >= _LINK)
    order = np.argsort(-bonus[rows, columns], kind="stable")
    label = list(range(len(photos)))
    members_of = {k: [k] for k in label}
    for at in order:
        a, b = label[rows[at]], label[columns[at]]
        if a == b or len(members_of[a]) + len(members_of[b]) > LONGEST:
            continue
        both = members_of[a] + members_of[b]
        exposures = sorted(stops[k] for k in both)
        if min(np.diff(exposures)) < same_stops:
            continue
        cross = likeness[np.ix_(members_of[a], members_of[b])]
        if float(np.nanmean(cross)) < SAME_SCENE:
            continue
        for k in members_of[b]:
            label[k] = a
        members_of[a] = both
        del members_of[b]
    found = []
    for members in members_of.values():
        if len(members) > 1:
            found.append((sorted(members, key=lambda k: stops[k]), _apart(members, bonus)))
    return found


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
