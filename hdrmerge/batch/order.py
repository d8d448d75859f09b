"""The order in which shots were taken, and how far it can be trusted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hdrmerge.batch.scan import Photo
from hdrmerge.batch.sequence import LONGEST, SAME_STOPS

_CYCLE = 10_000  # cameras count to 9999
_MOST_A_SECOND = 30  # frames that a camera takes
_IMPOSSIBLE = 0.1  # share of shots whose time cannot be true before the clock is disbelieved
_NAMES_AGREE = 0.8
_MOST_PARTS, _LEAST_PART = 4, 6

Counters = dict[Photo, tuple[str, int]]  # what a number counts, and the number


@dataclass(frozen=True, slots=True)
class Order:
    """``photos`` of a stream by time, then by the counters of their names.

    ``sure``: the clock can be believed; else they are in the order of their names. ``settled``:
    the names order what the clock leaves open.
    """

    photos: list[Photo]
    sure: bool
    settled: bool


def in_order(photos: Sequence[Photo]) -> Order:
    """The order of the shots of one stream."""
    counters = _counters(photos)

    def name_key(p: Photo) -> tuple[str, int, str]:
        return *counters.get(p, (p.prefix, -1)), p.file

    if any(p.time is None for p in photos):
        return Order(sorted(photos, key=name_key), sure=False, settled=False)
    ordered = sorted(photos, key=lambda p: (p.time or 0.0, name_key(p)))
    at_once: dict[float | None, list[Photo]] = defaultdict(list)
    for p in ordered:
        at_once[p.time].append(p)
    named = names_follow_time(ordered, counters)
    most = _MOST_A_SECOND if named else LONGEST  # several brackets in one second: no camera
    wrong = sum(len(g) for g in at_once.values() if _impossible(g, most))
    if len(at_once) == 1 and len(ordered) > 1:  # a clock that stands still tells nothing
        wrong = len(ordered)
    settled = named or len(at_once) == len(ordered)
    if wrong > _IMPOSSIBLE * len(ordered):
        return Order(sorted(photos, key=name_key), sure=False, settled=False)
    return Order(ordered, True, settled)


def by_names(photos: Sequence[Photo]) -> list[list[Photo]]:
    """``photos`` apart by the beginning of their names, where each part counts with time.

    So two cameras that do not tell their serial numbers.
    """
    parts: dict[str, list[Photo]] = defaultdict(list)
    for p in photos:
        parts[p.prefix].append(p)
    if not 1 < len(parts) <= _MOST_PARTS or min(len(part) for part in parts.values()) < _LEAST_PART:
        return [list(photos)]
    for part in parts.values():
        if any(p.time is None for p in part):
            return [list(photos)]
        part.sort(key=lambda p: (p.time or 0.0, p.file))
        if not names_follow_time(part, _unwrapped(part)):
            return [list(photos)]
    return list(parts.values())


def names_follow_time(ordered: Sequence[Photo], counters: Counters) -> bool:
    """Whether the counters rise with time, so that they may order what time cannot."""
    agree, total = 0, 0
    for a, b in pairwise(ordered):
        if a.time == b.time or a not in counters or b not in counters:
            continue
        (first, low), (second, high) = counters[a], counters[b]
        if first == second:
            total += 1
            agree += high > low
    return total > 0 and agree >= _NAMES_AGREE * total


def _impossible(group: list[Photo], most: int) -> bool:
    """Whether no camera can have taken these shots at one reading of its clock."""
    if len(group) == 1:
        return False
    exposures = Counter(round((p.stops or 0.0) / SAME_STOPS) for p in group)
    alike = max(exposures.values()) > 1
    if group[0].exact and alike:
        return True
    return len(group) > most


def _counters(photos: Sequence[Photo]) -> Counters:
    """The camera's own numbers of its shots where it notes them, else those of the names."""
    numbers = {p: ("", p.drive.number) for p in photos if p.drive.number is not None}
    distinct = len({number for _, number in numbers.values()}) == len(photos)
    return numbers if distinct else _unwrapped(photos)


def _unwrapped(photos: Sequence[Photo]) -> Counters:
    """Counters that go on after 9999 where the files hold both ends of the cycle."""
    found: Counters = {}
    groups: dict[str, list[Photo]] = defaultdict(list)
    for p in photos:
        if p.counter is not None:
            groups[p.prefix].append(p)
    for group in groups.values():
        values = sorted({p.counter or 0 for p in group})
        wraps = values[-1] < _CYCLE and values[-1] - values[0] > _CYCLE // 2
        start = 0
        if wraps:  # the cycle begins after its widest gap
            gaps = [b - a for a, b in pairwise(values)]
            widest = max(range(len(gaps)), key=lambda k: gaps[k])
            if gaps[widest] > values[0] + _CYCLE - values[-1]:
                start = values[widest + 1]
        for p in group:
            value = p.counter or 0
            found[p] = p.prefix, value + (_CYCLE if value < start else 0)
    return found
