"""A run of shots in the order in which they were taken, cut into brackets.

Every cut into segments has a score, the sum of what speaks for each of its brackets: pauses, the
camera's own marks, the shape of the exposures, likeness of the pictures. The best cut is found by
dynamic programming (optimal partition of a sequence; R. Bellman, "On the approximation of curves
by line segments using dynamic programming", CACM 4, 1961), so that no single sign decides: a pause
splits no bracket whose exposures belong together, and two fired back to back are two.

Scores are in the manner of log-odds; 1 is weak evidence, 4 overrules most others.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hdrmerge.batch.scan import Photo

LONGEST = 15  # frames of a bracket
SAME_STOPS = 0.15  # exposures closer than this are one; nominal 1/13 s and 1/15 s differ by 0.2
MEASURED_SAME_STOPS = 0.08  # of brightness, which clipping compresses
_RANGE = (0.2, 26.0)  # stops between the ends of a bracket
_BRACKET, _PAIR = -2.0, 0.5  # what a bracket must overcome, and one of two frames
_REPEAT = -5.0
_REGULAR, _IRREGULAR = 1.0, -1.5
_NARROW = -3.0  # less than 0.6 stops that nothing but metering explains
_METERED = -100.0  # more exposure and no brighter: the light changed, and the camera followed
_ORDERLY, _DISORDERLY = 0.5, -1.0  # the latter for each frame beyond two
_SAME_BIAS = -4.0  # a bracket does not come back to a compensation
_HABIT = 2.0  # at most, for a pattern that the photographer repeats
_FIXED = 100.0  # --frames: as many brackets as possible
_PAUSES = ((1.5, 1.0), (4.0, 0.5), (10.0, 0.0), (30.0, -0.7), (120.0, -1.5), (600.0, -2.5))
_LONG_PAUSE = -4.0
SAME_SCENE, OTHER_SCENE = 0.5, 0.3
LEAST_BRIGHTER = 0.15  # stops of mean brightness for each of exposure; clipping keeps it below 1

Pattern = tuple[int, ...]


@dataclass(slots=True)
class ShotSequence:
    """Shots in order. ``stops`` (N,): their exposures in log2. ``likeness`` (N, LONGEST):
    similarity to the k-th next shot, and ``brightness`` (N,) in log2, NaN where unknown.
    ``ordered``: whether the order is certain.
    """

    photos: list[Photo]
    stops: list[float]
    measured: bool
    ordered: bool
    likeness: NDArray[np.float32] | None = None
    brightness: Sequence[float] = ()
    joins: list[float] = field(default_factory=list)
    paused: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paused = [0.0, *(max(0.0, -_pause_score(*p)) for p in pairwise(self.photos))]
        self.joins = [0.0, *(_join(a, b, self.ordered) for a, b in pairwise(self.photos))]

    @property
    def same_stops(self) -> float:
        return MEASURED_SAME_STOPS if self.measured else SAME_STOPS


@dataclass(frozen=True, slots=True)
class Segment:
    """Shots ``start`` to ``end`` (exclusive) of a sequence and what speaks for their bracket."""

    start: int
    end: int
    score: float
    pattern: Pattern


def cut(
    sequence: ShotSequence, habits: Counter[Pattern], frames: int | None = None
) -> list[Segment]:
    """The brackets of the best partition; shots between them are single."""
    count = len(sequence.photos)
    best = [0.0] * (count + 1)
    taken: list[Segment | None] = [None] * (count + 1)
    for end in range(1, count + 1):
        best[end] = -math.inf
    for start in range(count):
        if best[start] > best[start + 1]:
            best[start + 1], taken[start + 1] = best[start], None
        for segment in _segments(sequence, start, habits, frames):
            total = best[start] + segment.score
            if total > best[segment.end]:
                best[segment.end], taken[segment.end] = total, segment
    found: list[Segment] = []
    end = count
    while end > 0:
        last = taken[end]
        if last is not None:
            found.append(last)
        end = end - 1 if last is None else last.start
    return found[::-1]


def _segments(
    sequence: ShotSequence, start: int, habits: Counter[Pattern], frames: int | None
) -> list[Segment]:
    """All brackets that may begin at ``start``."""
    stops, same = sequence.stops, sequence.same_stops
    ranked: list[tuple[float, int]] = [(stops[start], start)]
    total, repeats = _first(sequence.photos[start]), 0
    found = []
    longest = frames or LONGEST
    for end in range(start + 1, min(len(stops), start + longest)):
        total += sequence.joins[end]
        at = bisect_left(ranked, (stops[end], end))
        near = [ranked[k] for k in (at - 1, at) if 0 <= k < len(ranked)]
        repeats += any(_repeats(sequence, end, k) for _, k in near)
        insort(ranked, (stops[end], end))
        span = ranked[-1][0] - ranked[0][0]
        if frames is None and (repeats > 1 or span > _RANGE[1]):
            break
        size = end - start + 1
        if (frames is None and span < _RANGE[0]) or size != (frames or size):
            continue
        if frames is None and repeats and not _repeat_inside(stops, start, end, same):
            continue
        pattern = pattern_of(stops[start : end + 1])
        score = total + _BRACKET + repeats * _REPEAT + _shape(sequence, ranked, pattern)
        score += _expected(sequence.photos, start, end)
        score += _scene(sequence, ranked, sum(sequence.paused[start + 1 : end + 1]))
        score += min(_HABIT, 0.7 * math.log2(max(habits[pattern], 1)))
        score += _FIXED if frames else 0.0
        found.append(Segment(start, end + 1, score, pattern))
    return found


def _repeats(sequence: ShotSequence, a: int, b: int) -> bool:
    """Whether two shots have the same exposure; nominal times may hide what the bias tells."""
    if abs(sequence.stops[a] - sequence.stops[b]) >= sequence.same_stops:
        return False
    x, y = compensation(sequence.photos[a]), compensation(sequence.photos[b])
    return x is None or y is None or abs(x - y) < SAME_STOPS


def compensation(photo: Photo) -> float | None:
    """Stops by which the photographer or the bracketing changed the exposure."""
    return photo.drive.stops if photo.drive.stops is not None else photo.shot.bias


def pattern_of(stops: Sequence[float]) -> Pattern:
    """Ranks of the exposures in their order, and the mean step in half stops."""
    order = sorted(range(len(stops)), key=lambda k: (stops[k], k))
    ranks = [0] * len(stops)
    for rank, k in enumerate(order):
        ranks[k] = rank
    step = (stops[order[-1]] - stops[order[0]]) / max(len(stops) - 1, 1)
    return (*ranks, round(2 * step))


def orderly(ranks: Sequence[int]) -> bool:
    """Whether a camera fires in this order: up, down, or the middle first and then either way."""
    count = len(ranks)
    rest = [r for r in ranks if r != ranks[0]]
    up, middle = list(range(count)), ranks[0] in ((count - 1) // 2, count // 2)
    if list(ranks) in (up, up[::-1]):
        return True
    if not middle:
        return False
    out = [abs(r - ranks[0]) for r in rest]
    return rest in (sorted(rest), sorted(rest, reverse=True)) or out == sorted(out)


def pause(a: Photo, b: Photo) -> float | None:
    """Seconds between the end of one shot and the begin of the next; None where no clock tells."""
    if a.time is None or b.time is None:
        return None
    busy = max(a.duration, b.duration)
    busy *= 2.2 if busy >= 1.0 else 1.0  # a dark frame may follow, and either end be stamped
    doubt = 0.0 if a.exact and b.exact else 0.5
    return max(0.0, abs(b.time - a.time) - busy - doubt)


def _join(a: Photo, b: Photo, ordered: bool) -> float:
    """What speaks for two neighbours being of one bracket, their scene and exposures aside."""
    score = _pause_score(a, b)
    if ordered and a.counter is not None and b.counter is not None and a.prefix == b.prefix:
        step = b.counter - a.counter
        score += 0.2 if step == 1 or step <= -9000 else -0.2
    marks = a.drive.bracketing, b.drive.bracketing
    if marks == (True, True):
        score += 1.0
    elif marks == (False, False):
        score -= 1.0
    elif None not in marks:
        score -= 4.0
    return score + _numbers(a, b) + _compensation(a, b)


def _pause_score(a: Photo, b: Photo) -> float:
    seconds = pause(a, b)
    if seconds is None:
        return 0.0
    return next((s for limit, s in _PAUSES if seconds <= limit), _LONG_PAUSE)


def _numbers(a: Photo, b: Photo) -> float:
    """The camera's numbers of shots in a bracket go on by one."""
    if a.drive.shot is None or b.drive.shot is None:
        return 0.0
    return 1.5 if b.drive.shot == a.drive.shot + 1 else -3.0


def _compensation(a: Photo, b: Photo) -> float:
    """Exposure compensation changes as the exposure does, or the camera metered anew."""
    x, y = compensation(a), compensation(b)
    if x is None or y is None or a.stops is None or b.stops is None:
        return 0.0
    if abs(x - y) >= SAME_STOPS:
        return 1.0 if abs((x - y) - (a.stops - b.stops)) < 0.4 else -0.5
    metered = a.shot.automatic and b.shot.automatic and a.drive.bracketing is not True
    return -1.0 if metered else 0.0


def _first(photo: Photo) -> float:
    return -1.0 if photo.drive.shot not in (None, 1) else 0.0


def _expected(photos: list[Photo], start: int, end: int) -> float:
    """The camera says how many frames its bracket has."""
    said = {p.drive.frames for p in photos[start : end + 1]} - {None}
    if not said:
        return 0.0
    return 3.0 if said == {end - start + 1} else -3.0


def _shape(sequence: ShotSequence, ranked: list[tuple[float, int]], pattern: Pattern) -> float:
    """Even steps, in an order that cameras use."""
    narrow = ranked[-1][0] - ranked[0][0] < 0.6
    marked = all(sequence.photos[k].drive.bracketing for _, k in ranked)
    biases = {compensation(sequence.photos[k]) for _, k in ranked}
    score = _NARROW if narrow and not marked and len(biases) < len(ranked) else 0.0
    if len(ranked) == 2:
        return score + _PAIR
    same = sequence.same_stops
    steps = [b[0] - a[0] for a, b in pairwise(ranked)]
    steps = [s for s in steps if s >= same]
    if not steps:
        return score
    even = sequence.measured or even_steps(steps)  # a tone curve makes any steps uneven
    known = sequence.ordered and len(steps) == len(ranked) - 1
    if known and not orderly(pattern[:-1]):
        score += _DISORDERLY * (len(ranked) - 2) + (0.0 if even else _IRREGULAR)
    else:
        gap = 0.0 if _lacking(steps) else _IRREGULAR
        score += _REGULAR * (len(ranked) - 2) if even else gap
        score += _ORDERLY if known else 0.0
    if 1 < len(biases) < len(ranked) - 1 and None not in biases:
        score += _SAME_BIAS * (len(ranked) - len(biases))
    return score


def even_steps(steps: Sequence[float], tolerance: float = 0.35) -> bool:
    """Whether steps are equal but for the rounding of nominal exposures."""
    return max(steps) - min(steps) <= max(0.35, tolerance * sum(steps) / len(steps))


def _lacking(steps: Sequence[float]) -> bool:
    """Whether steps would be equal if not for a frame or two that are missing."""
    multiples = [s / min(steps) for s in steps]
    return max(multiples) < 3.3 and all(abs(m - round(m)) < 0.2 for m in multiples)


def _repeat_inside(stops: list[float], start: int, end: int, same: float) -> bool:
    """Whether a repeated exposure is a retake: its frames lie next to each other."""
    return any(abs(stops[k] - stops[k - 1]) < same for k in range(start + 1, end + 1))


def _scene(sequence: ShotSequence, ranked: list[tuple[float, int]], paused: float) -> float:
    """Likeness of the pictures that are next to each other in exposure.

    Brackets of one view are alike too, so that likeness counts by half, and in full only to excuse
    pauses (what they cost: ``paused``).
    """
    if sequence.likeness is None:
        return 0.0
    score, alike = 0.0, 0.0
    for (_, a), (_, b) in pairwise(ranked):
        low, high = min(a, b), max(a, b)
        evidence = scene_evidence(float(sequence.likeness[low, high - low]))
        score, alike = score + min(evidence, 0.0), alike + max(evidence, 0.0)
    score += alike / 2 + min(alike / 2, paused)
    (first, a), (last, b) = ranked[0], ranked[-1]
    brighter = sequence.brightness[b] - sequence.brightness[a]
    marked = all(sequence.photos[k].drive.bracketing for _, k in ranked)
    unsure = sequence.measured or marked or last - first < SAME_STOPS
    if brighter < LEAST_BRIGHTER * (last - first) and not unsure:
        score += _METERED
    return score


def scene_evidence(likeness: float) -> float:
    """What the likeness of two pictures says of their showing one scene."""
    if math.isnan(likeness):
        return 0.0
    if likeness < SAME_SCENE:
        return max(-8.0, 4.0 * (likeness - SAME_SCENE) / (SAME_SCENE - OTHER_SCENE))
    return min(2.0, 10.0 * (likeness - SAME_SCENE))
