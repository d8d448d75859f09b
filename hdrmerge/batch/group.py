"""One stream of shots (one camera, folder and picture size) into brackets.

First by metadata alone. Where those leave room for doubt, small versions of the pictures are
looked at; where there is no order to rely on, they decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hdrmerge.batch.cluster import MOST, cluster
from hdrmerge.batch.looks import Look, band, bridges_of, similarity
from hdrmerge.batch.order import in_order
from hdrmerge.batch.plan import FindOptions
from hdrmerge.batch.scan import Photo
from hdrmerge.batch.sequence import (
    LEAST_BRIGHTER,
    LONGEST,
    SAME_SCENE,
    SAME_STOPS,
    Pattern,
    Segment,
    ShotSequence,
    cut,
    even_steps,
    orderly,
    pattern_of,
    pause,
)

Looks = Callable[[Sequence[Photo]], dict[Photo, Look]]

_HOPELESS = -3.0  # what no likeness of two pictures makes up for
_RUN = 10.0  # and within which a missing exposure is measured with its neighbours
_FROZEN = 0.5  # stops of brightness between frames whose metadata are the same
_TIED = "another shot of the same second may belong to it, and nothing tells their order"
_HABITUAL = 2


@dataclass(slots=True)
class Group:
    """Shots found to be a bracket, in order.

    ``bridges`` (N - 1,): in ascending order of exposure, the greatest likeness of a shot below each
    gap to one above it; NaN where nothing can be compared.
    """

    photos: list[Photo]
    stops: list[float]
    measured: bool
    score: float
    pattern: Pattern
    ordered: bool
    bridges: list[float] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    by_content: bool = False
    notes: list[str] = field(default_factory=list)


class Stream:
    """The shots of one stream while they are being grouped."""

    def __init__(self, photos: Sequence[Photo], options: FindOptions) -> None:
        self.options = options
        order = in_order(photos)
        self.photos, self.sure, self.settled = order.photos, order.sure, order.settled
        self.stops = [np.nan if p.stops is None else p.stops for p in self.photos]
        self.measured = False
        self.likeness: NDArray[np.float32] | None = None
        self.brightness: list[float] = []

    def habits(self) -> Counter[Pattern]:
        """How often each pattern occurs, by the metadata alone."""
        if not self.sure or np.isnan(self.stops).any():
            return Counter()
        return Counter(s.pattern for s in self._cut(Counter()))

    def groups(self, habits: Counter[Pattern], looks: Looks) -> list[Group]:
        """The brackets; ``looks`` loads what pictures look like."""
        if not self.sure and self.options.frames is None:
            found = self._by_content(habits, looks)
            if found is not None:
                return found
        if self.options.measure:
            self._measure(habits, looks)
        known = [k for k, s in enumerate(self.stops) if not np.isnan(s)]
        if self.options.frames is not None:
            self.stops = [0.0 if np.isnan(s) else s for s in self.stops]
        elif len(known) < len(self.stops):
            self._keep(known)
        return [self._group(s) for s in self._cut(habits)]

    def _keep(self, known: list[int]) -> None:
        self.photos = [self.photos[k] for k in known]
        self.stops = [self.stops[k] for k in known]
        if self.likeness is not None:
            self.likeness, self.brightness = None, []

    def _cut(self, habits: Counter[Pattern]) -> list[Segment]:
        return cut(self._sequence(), habits, self.options.frames)

    def _sequence(self) -> ShotSequence:
        ordered = self.sure and self.settled
        return ShotSequence(
            self.photos, self.stops, self.measured, ordered, self.likeness, self.brightness
        )

    def _group(self, segment: Segment) -> Group:
        chosen = range(segment.start, segment.end)
        stops = [self.stops[k] for k in chosen]
        bridges: list[float] = []
        if self.likeness is not None:
            count = len(chosen)
            alike = np.full((count, count), np.nan, dtype=np.float32)
            for i in range(count):
                for j in range(i + 1, min(count, i + LONGEST)):
                    alike[i, j] = alike[j, i] = self.likeness[segment.start + i, j - i]
            bridges = bridges_of(alike, stops)
        bright = [self.brightness[k] for k in chosen] if self.brightness else []
        photos = [self.photos[k] for k in chosen]
        return Group(
            photos,
            stops,
            self.measured,
            segment.score,
            segment.pattern,
            ordered=self.sure and self.settled,
            bridges=bridges,
            brightness=bright,
            notes=[_TIED] if self._tied(segment) else [],
        )

    def _tied(self, segment: Segment) -> bool:
        """Whether a shot outside, of the same second as one inside, could be in its place or in its
        company: by its exposure, or because it shows the same."""
        if self.settled or not self.sure:
            return False
        inside = range(segment.start, segment.end)
        near = range(max(0, segment.start - LONGEST), min(len(self.photos), segment.end + LONGEST))
        return any(
            self.photos[k].time == self.photos[m].time
            and (
                abs(self.stops[k] - self.stops[m]) < SAME_STOPS
                or self.alike(self.photos[k], self.photos[m]) >= SAME_SCENE
            )
            for k in near
            if k not in inside
            for m in inside
        )

    def _measure(self, habits: Counter[Pattern], looks: Looks) -> None:
        """Look at the shots that metadata leave uncertain; ``stops`` where EXIF is of no use."""
        wanted = self._uncertain(habits)
        if not wanted:
            return
        seen = looks([self.photos[k] for k in sorted(wanted)])
        found = [seen.get(p) for p in self.photos]
        self._see(found)
        for run in _runs(self._without_exposure(), self.photos):
            if all(found[k] is not None for k in run):
                self._measure_run(run, found)

    def _see(self, looks: list[Look | None]) -> None:
        self.likeness = band(looks, LONGEST)
        self.brightness = [np.nan if look is None else look.stops for look in looks]

    def alike(self, a: Photo, b: Photo) -> float:
        """Likeness of two shots that are near in order; NaN where it is not known."""
        if self.likeness is None or a not in self.photos or b not in self.photos:
            return np.nan
        low, high = sorted((self.photos.index(a), self.photos.index(b)))
        return float(self.likeness[low, high - low]) if 0 < high - low < LONGEST else np.nan

    def _uncertain(self, habits: Counter[Pattern]) -> set[int]:
        """Shots for which the metadata alone decide nothing."""
        count = len(self.photos)
        if np.isnan(self.stops).any() or not self.sure:
            return set(range(count))
        certain: set[int] = set()
        for s in self._cut(habits):
            if self._certain(s, habits):
                certain.update(range(s.start, s.end))
        wanted: set[int] = set()
        joins = self._sequence().joins
        for k in range(count - 1):
            a, b = self.photos[k], self.photos[k + 1]
            if joins[k + 1] < _HOPELESS or {k, k + 1} & certain:
                continue
            marks = a.drive.bracketing, b.drive.bracketing
            if marks == (False, False) and abs(self.stops[k] - self.stops[k + 1]) < SAME_STOPS:
                continue  # a burst, as the camera says itself
            wanted |= {k, k + 1}
        return wanted

    def _certain(self, s: Segment, habits: Counter[Pattern]) -> bool:
        """Whether the camera itself marks a complete bracket."""
        photos, stops = self.photos[s.start : s.end], sorted(self.stops[s.start : s.end])
        if any(p.drive.bracketing is not True for p in photos):
            return False
        shots = [p.drive.shot for p in photos]
        numbered = shots == list(range(1, len(photos) + 1))
        pauses = [pause(a, b) for a, b in pairwise(photos)]
        steps = np.diff(stops)
        return (
            (numbered or habits[s.pattern] > _HABITUAL)
            and all(q is not None and q <= _RUN for q in pauses)
            and len(photos) > 2
            and bool(min(steps) >= SAME_STOPS)
            and even_steps(list(steps))
            and orderly(s.pattern[:-1])
        )

    def _without_exposure(self) -> set[int]:
        """Shots whose EXIF exposure is missing, or the same as a neighbour's at the same time."""
        found = {k for k, s in enumerate(self.stops) if np.isnan(s)}
        for k in range(len(self.photos) - 1):
            a, b = self.photos[k], self.photos[k + 1]
            same = abs(self.stops[k] - self.stops[k + 1]) < SAME_STOPS
            if same and a.time == b.time:
                found |= {k, k + 1}
        return found

    def _measure_run(self, run: list[int], looks: list[Look | None]) -> None:
        """Exposures of a run from brightness, where EXIF has none or contradicts it."""
        bright = np.array([look.stops for k in run if (look := looks[k]) is not None])
        exif = np.array([self.stops[k] for k in run])
        if not np.isnan(exif).any():
            assert self.likeness is not None
            frozen = any(
                abs(exif[k + 1] - exif[k]) < SAME_STOPS
                and abs(bright[k + 1] - bright[k]) >= _FROZEN
                and float(self.likeness[run[k], 1]) >= SAME_SCENE
                for k in range(len(run) - 1)
            )
            if not frozen:
                return
        shift = np.nanmedian(exif - bright) if not np.isnan(exif).all() else 0.0
        for k, value in zip(run, bright, strict=True):
            self.stops[k] = float(value + shift)
        self.measured = True

    def _by_content(self, habits: Counter[Pattern], looks: Looks) -> list[Group] | None:
        """Brackets of shots whose order nothing tells; None where the names turn out to tell it."""
        if not self.options.measure or len(self.photos) > MOST:
            return None
        seen = looks(self.photos)
        known = [k for k, p in enumerate(self.photos) if p in seen]
        if len(known) < 2:
            return []
        photos = [self.photos[k] for k in known]
        pictures = [seen[p] for p in photos]
        alike = similarity(pictures, pictures)
        alike = np.fmax(alike, alike.T)
        np.fill_diagonal(alike, np.nan)
        exif = np.array([self.stops[k] for k in known])
        bright = np.array([look.stops for look in pictures])
        clusters = cluster(photos, exif, bright, alike)
        together = [max(m) - min(m) == len(m) - 1 for m, _ in clusters]
        if sum(together) >= 0.7 * len(together) and len(together) > 1:
            self.photos = photos
            self.stops, self.measured = _trusted(exif, bright)
            self._see(list(pictures))
            return [self._group(s) for s in self._cut(habits)]
        groups = []
        lost = set(range(len(photos))).difference(*(m for m, _ in clusters))
        for members, apart in clusters:
            values, measured = _trusted(exif[members], bright[members])
            group = Group(
                [photos[k] for k in members],
                values,
                measured,
                0.0,
                pattern_of(values),
                ordered=False,
                bridges=bridges_of(alike[np.ix_(members, members)], values),
                brightness=[pictures[k].stops for k in members],
                by_content=True,
            )
            dull = [k for k in lost if np.isnan(alike[k, members]).any()]
            if any(_goes_on(exif[k], exif[members]) for k in dull):
                group.notes.append("a shot that is too dark or bright to compare may belong to it")
            if not apart:
                group.notes.append("other shots look alike and nothing tells their order")
            groups.append(group)
        return groups


def _trusted(exif: NDArray[np.float64], bright: NDArray[np.float64]) -> tuple[list[float], bool]:
    """EXIF's exposures where they are known, change, and make brighter; else the brightness.

    And whether it is the latter.
    """
    span = float(np.ptp(exif))
    brighter = bright[np.argmax(exif)] - bright[np.argmin(exif)]
    if np.isnan(span) or span < SAME_STOPS or brighter < LEAST_BRIGHTER * span:
        return bright.tolist(), True
    return exif.tolist(), False


def _goes_on(stops: float, others: NDArray[np.float64]) -> bool:
    """Whether an exposure could be a further one of a bracket's."""
    if np.isnan(stops) or np.isnan(others).any():
        return True
    step = float(np.ptp(others)) / (len(others) - 1)
    away = float(np.abs(others - stops).min())
    return away > 0.7 * step and abs(away / max(step, SAME_STOPS) - 1.0) < 0.3


def _runs(members: set[int], photos: Sequence[Photo]) -> list[list[int]]:
    """Runs of shots in quick succession that hold one of ``members``."""
    runs: list[list[int]] = []
    current: list[int] = []
    for k in range(len(photos)):
        seconds = pause(photos[k - 1], photos[k]) if k else None
        if current and seconds is not None and seconds > _RUN:
            runs.append(current)
            current = []
        current.append(k)
    runs.append(current)
    return [run for run in runs if members & set(run)]
