"""Curves as tables: quicker than the curve itself, and the only form that some have."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray


def look_up(table: FloatArray, position: FloatArray) -> FloatArray:
    """Linear interpolation in ``table`` (N,) at fractional indices, which are limited to it.

    ``position``: any shape, float32; it is used up.
    """
    last = len(table) - 1
    np.clip(position, 0, last, out=position)
    index = position.astype(np.int32)
    position -= index
    low = table[index]
    np.minimum(index + 1, last, out=index)
    position *= table[index] - low
    position += low
    return position
