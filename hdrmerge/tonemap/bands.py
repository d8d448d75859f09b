"""Work on a picture in bands of rows: what a band needs stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hdrmerge.threads import side_by_side

Result = TypeVar("Result")

# Pixels; with more, the linear algebra beneath numpy starts threads of its own, which wait burning
# as much time as the work takes.
BAND = 60_000


def bands(shape: tuple[int, ...]) -> list[slice]:
    """Slices of rows of a picture (H, W, ...), from top to bottom."""
    step = max(1, BAND // shape[1])
    return [slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step)]


def in_bands(shape: tuple[int, ...], work: Callable[[slice], Result]) -> list[Result]:
    """``work`` done on every band, in their order from top to bottom, side by side."""
    return side_by_side(work, bands(shape))
