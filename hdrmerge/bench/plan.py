"""What the photographs are to be, known without making them."""

from __future__ import annotations

_STEP, _RANGE = 3.0, 12.0  # stops between neighbours, and from first to last at most


def size_of(megapixels: float) -> tuple[int, int]:
    """(height, width) in the proportion 2 : 3."""
    width = max(60, round((megapixels * 1.5e6) ** 0.5))
    return round(width / 1.5), width


def stops_of(count: int) -> tuple[float, ...]:
    """Exposures of ``count`` photographs in stops, about 0, the darkest first."""
    step = min(_STEP, _RANGE / (count - 1))
    return tuple(step * (k - (count - 1) / 2) for k in range(count))
