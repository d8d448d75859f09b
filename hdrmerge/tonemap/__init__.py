"""Tone mapping: scene-linear radiance to a picture for a display.

What is heavy is loaded when it is used, so that the operators can be listed without numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hdrmerge.tonemap.operators import OPERATORS, find_operator
from hdrmerge.tonemap.record import Operator, Parameter

if TYPE_CHECKING:
    from hdrmerge.tonemap.display import count_bad, rendered, tonemap
    from hdrmerge.tonemap.sheet import contact_sheet

_HOMES = {"contact_sheet": "sheet", "count_bad": "display"}
_HOMES |= {"rendered": "display", "tonemap": "display"}

__all__ = [
    "OPERATORS",
    "Operator",
    "Parameter",
    "contact_sheet",
    "count_bad",
    "find_operator",
    "rendered",
    "tonemap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hdrmerge.tonemap' has no attribute {name!r}")
    return getattr(import_module(f"hdrmerge.tonemap.{_HOMES[name]}"), name)
