"""What alignment did to each frame, in words for the report; and which frames it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hdrmerge.stack import ExposureStack

Kind = Literal["homography", "affine", "translation", "none", "reference"]

_BY_HAND = 1.0  # px by which some frame has moved where the camera stood on nothing


@dataclass(frozen=True, slots=True)
class AlignmentNote:
    """What was done to one frame, and why, in words for the report. ``moved``: px by which it was
    found to lie elsewhere; ``lost``: nothing is known of where it lies."""

    kind: Kind
    note: str
    moved: float = 0.0
    lost: bool = False


def without_lost(
    stack: ExposureStack, notes: Sequence[AlignmentNote]
) -> tuple[ExposureStack, tuple[AlignmentNote, ...], tuple[str, ...]]:
    """The stack and its notes without what would do more harm than good, and a sentence on each.

    Where other frames moved, the camera was held by hand, and a frame that nobody knows the place
    of lies somewhere else. If it is longer than the reference all that it could give is less noise.
    """
    by_hand = max(note.moved for note in notes) >= _BY_HAND
    kept = [
        k for k, note in enumerate(notes) if not (by_hand and note.lost and k > stack.reference)
    ]
    gone = [frame.path.name for k, frame in enumerate(stack.frames) if k not in kept]
    if not gone or len(kept) < 2:
        return stack, tuple(notes), ()
    stack = replace(
        stack,
        frames=tuple(stack.frames[k] for k in kept),
        exposures=stack.exposures[kept],
        homographies=stack.homographies[kept],
    )
    said = tuple(f"{name} was left out: it could not be aligned." for name in gone)
    return stack, tuple(notes[k] for k in kept), said
