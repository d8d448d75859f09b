"""Tone mapping: scene-linear radiance to a picture for a display.

What is heavy is loaded when it is used, so that the operators can be listed without numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hdrmerge.tonemap.operators import OPERATORS, find_operator
from hdrmerge.tonemap.record import Operator, Parameter

if TYPE_CHECKING:
    from hdrmerge.tonemap.display import count_bad, tonemap

__all__ = ["OPERATORS", "Operator", "Parameter", "count_bad", "find_operator", "tonemap"]


def __getattr__(name: str) -> Any:
    if name not in ("count_bad", "tonemap"):
        raise AttributeError(f"module 'hdrmerge.tonemap' has no attribute {name!r}")
    from hdrmerge.tonemap import display

    return getattr(display, name)
