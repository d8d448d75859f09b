"""Tone mapping: scene-linear radiance to a picture for a display."""

from __future__ import annotations

from hdrmerge.tonemap.display import count_bad, tonemap
from hdrmerge.tonemap.operators import OPERATORS, Operator, find_operator

__all__ = ["OPERATORS", "Operator", "count_bad", "find_operator", "tonemap"]
