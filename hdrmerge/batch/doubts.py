"""Why shots were taken to be a bracket, and what speaks against it, each as a sentence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hdrmerge.batch.cluster import SAME_BRIGHT
from hdrmerge.batch.group import Group
from hdrmerge.batch.scan import Photo
from hdrmerge.batch.sequence import (
    LEAST_BRIGHTER,
    SAME_SCENE,
    SAME_STOPS,
    Pattern,
    even_steps,
    orderly,
    pause,
)

_UNLIKE = 0.35  # likeness below which a frame shows something else than its neighbours
_LITTLE = 0.5  # score below which a bracket stands on little evidence
_LONG = 300.0  # seconds of a pause that only the camera's marks or the pictures excuse
_HABIT = 4  # brackets that make a habit, from which an incomplete one differs
_NEAR = 10.0
_AT_ONCE = 1.5


def reason(group: Group) -> str:
    """How the bracket was recognised."""
    steps = [b - a for a, b in pairwise(sorted(group.stops))]
    parts = [f"{len(group.photos)} frames"]
    if group.measured:
        parts.append("of different brightness")
    elif even_steps(steps):
        parts.append(f"{sum(steps) / len(steps):.2g} stops apart")
    else:
        parts.append(f"over {sum(steps):.2g} stops")
    text = [" ".join(parts)]
    if all(p.drive.bracketing for p in group.photos):
        text.append("marked as a bracket by the camera")
    times = [p.time for p in group.photos if p.time is not None]
    if len(times) == len(group.photos) and not group.by_content:
        text.append(f"within {max(times) - min(times):.1f} s")
    if group.bridges and all(v >= SAME_SCENE for v in group.bridges):
        text.append("of one scene")
    return ", ".join(text)


def doubt(
    group: Group,
    habits: Counter[Pattern],
    beside: Sequence[tuple[Photo, float]],
    *,
    fixed: bool = False,
) -> str | None:
    """What speaks against the bracket.

    ``beside``: the single shots next to it, and their likeness to its nearest. ``fixed``: how many
    frames it has was asked for.
    """
    if fixed:
        return _other_scene(group) or _paused(group)
    found = [
        *group.notes,
        _repeated(group),
        _other_scene(group),
        _marks(group),
        _incomplete(group, habits),
        _pair(group, habits),
        _unseen(group) if habits[group.pattern] < _HABIT else None,
        _paused(group),
        _beside(group, beside, habits[group.pattern] >= _HABIT),
        _metered(group),
        _little(group),
    ]
    sentences = [s for s in found if s]
    return "; ".join(sentences) or None


def _little(group: Group) -> str | None:
    weak = group.score < _LITTLE and len(group.photos) > 2  # of pairs, _pair speaks
    return "little speaks for it" if weak and not group.by_content else None


def _repeated(group: Group) -> str | None:
    ordered = sorted(zip(group.stops, (p.file for p in group.photos), strict=True))
    for (a, _), (b, name) in pairwise(ordered):
        if b - a < (SAME_BRIGHT if group.measured else SAME_STOPS):
            return f"{_base(name)} repeats an exposure"
    return None


def _other_scene(group: Group) -> str | None:
    ordered = sorted(range(len(group.stops)), key=lambda k: group.stops[k])
    for k, likeness in enumerate(group.bridges):
        if likeness < _UNLIKE:
            odd = ordered[k] if 2 * k < len(ordered) - 1 else ordered[k + 1]
            return f"{_base(group.photos[odd].file)} does not look like the others"
    return None


def _marks(group: Group) -> str | None:
    marks = {p.drive.bracketing for p in group.photos}
    if True in marks and len(marks) > 1:
        return "the camera marks only some of its frames as a bracket"
    shots = [p.drive.shot for p in group.photos]
    if None not in shots and shots != list(range(1, len(shots) + 1)):
        return "by the camera's numbers of its frames, some are missing"
    expected = {p.drive.frames for p in group.photos} - {None}
    if expected and expected != {len(shots)}:
        return f"the camera was set to brackets of {max(k or 0 for k in expected)} frames"
    return None


def _incomplete(group: Group, habits: Counter[Pattern]) -> str | None:
    """Fewer frames of the same steps than the photographer's brackets have."""
    count, own = len(group.stops), habits[group.pattern]
    steps = [b - a for a, b in pairwise(sorted(group.stops))]
    for pattern, times in habits.most_common(1):
        size, step = len(pattern) - 1, pattern[-1] / 2
        habitual = times >= max(_HABIT, 0.5 * habits.total())
        if size <= count or not habitual or step <= 0:
            continue
        multiples = [s / step for s in steps]
        fits = all(round(m) >= 1 and abs(m - round(m)) < 0.3 for m in multiples)
        if fits and sum(round(m) for m in multiples) < size:
            return f"{count} frames where others of this camera have {size}"
    if group.measured:  # a tone curve makes any steps uneven
        return None
    if count > 2 and not even_steps(steps):
        return "its exposures are not evenly spaced"
    if count > 2 and group.ordered and own < 2 and not orderly(group.pattern[:-1]):
        return "its exposures come in an order that cameras do not use"
    return None


def _pair(group: Group, habits: Counter[Pattern]) -> str | None:
    marked = all(p.drive.bracketing for p in group.photos)
    if len(group.photos) == 2 and not marked and habits[group.pattern] < _HABIT:
        return "two frames alone are seldom a bracket"
    return None


def _metered(group: Group) -> str | None:
    """Pictures that get no brighter with exposure: the light changed, not the camera's will."""
    if group.measured or not group.brightness:
        return None
    pairs = sorted(zip(group.stops, group.brightness, strict=True))
    span, brighter = pairs[-1][0] - pairs[0][0], pairs[-1][1] - pairs[0][1]
    if brighter < LEAST_BRIGHTER * span:
        return "its pictures do not get brighter as the exposure does"
    return None


def _paused(group: Group) -> str | None:
    if group.by_content or all(p.drive.bracketing for p in group.photos):
        return None
    pauses = [q for a, b in pairwise(group.photos) if (q := pause(a, b)) is not None]
    seen = bool(group.bridges) and all(v >= SAME_SCENE for v in group.bridges)
    if pauses and max(pauses) > (_LONG if seen else _LONG / 5):
        return f"a pause of {max(pauses):.0f} s lies within it"
    return None


def _unseen(group: Group) -> str | None:
    """A first or last frame that neither its picture nor its time joins to the others."""
    if group.by_content or len(group.photos) < 3 or not group.bridges:
        return None
    if all(p.drive.bracketing for p in group.photos):
        return None
    order = sorted(range(len(group.stops)), key=lambda k: group.stops[k])
    gaps = [
        abs(b.time - a.time) - max(a.duration, b.duration)
        for a, b in pairwise(group.photos)
        if a.time is not None and b.time is not None
    ]
    for end, gap, rest in ((0, gaps[:1], gaps[1:]), (len(order) - 1, gaps[-1:], gaps[:-1])):
        across = [b for k, b in ((0, group.bridges[0]), (-1, group.bridges[-1])) if order[k] == end]
        if rest and any(b != b for b in across) and gap[0] > _AT_ONCE + 2 * max(*rest, 0.0):
            name = _base(group.photos[end].file)
            return f"{name} was taken apart from the others, and is too dark or bright to compare"
    return None


def _beside(group: Group, beside: Sequence[tuple[Photo, float]], usual: bool) -> str | None:
    """A single shot of the scene that could be a further frame of a bracket not ``usual``."""
    if group.measured:
        dull = [photo for photo, likeness in beside if likeness != likeness]
        return f"{_base(dull[0].file)} beside it is too dark or bright to compare" if dull else None
    steps = [b - a for a, b in pairwise(sorted(group.stops))]
    step = sum(steps) / len(steps)
    for photo, likeness in beside:
        end = group.photos[0] if _before(photo, group.photos[0]) else group.photos[-1]
        seconds = pause(photo, end)
        if photo.stops is None or seconds is None or seconds > _NEAR or likeness < SAME_SCENE:
            continue
        if photo.drive.bracketing is False and end.drive.bracketing:
            continue
        away = min(abs(photo.stops - s) for s in group.stops)
        goes_on = away > 0.7 * step and abs(away / step - round(away / step)) < 0.2
        if goes_on or (away >= SAME_STOPS and seconds <= _AT_ONCE and not usual):
            return f"{_base(photo.file)} beside it may belong to it"
    return None


def single_reason(photo: Photo, beside: Sequence[tuple[Photo, float]]) -> str:
    """Why a shot is in no bracket; ``beside``: the singles next to it and their likeness to it."""
    for other, likeness in beside:
        if photo.stops is None or other.stops is None:
            continue
        seconds = pause(photo, other)
        if seconds is None or seconds > _NEAR:
            continue
        if abs(photo.stops - other.stops) < SAME_STOPS:
            return "one of several shots with the same exposure"
        if seconds <= _AT_ONCE and likeness >= SAME_SCENE and not _known_single(photo, other):
            return f"a single shot, or part of a bracket of two with {_base(other.file)}"
    if photo.drive.bracketing:
        return "the camera marks it as part of a bracket, but the other frames are not there"
    if photo.stops is None:
        return "a single shot; its exposure is not known"
    return "a single shot"


def _known_single(a: Photo, b: Photo) -> bool:
    """Whether the camera says that it metered both, and bracketed neither."""
    marks = a.drive.bracketing is False or b.drive.bracketing is False
    return marks or bool(a.shot.automatic and b.shot.automatic)


def _before(a: Photo, b: Photo) -> bool:
    return a.time is not None and b.time is not None and a.time < b.time


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def relative_stops(stops: Sequence[float]) -> tuple[float, ...] | None:
    """Stops from the middle exposure, the darker of two; None where one is unknown."""
    if any(math.isnan(s) for s in stops):
        return None
    middle = sorted(stops)[(len(stops) - 1) // 2]
    return tuple(round(s - middle, 2) + 0.0 for s in stops)
