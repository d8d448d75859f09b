"""Logarithms and powers for loops: numba's own are not computed eight at a time.

Loops that call these are kept on disk with them inlined, and do not notice a change here: remove
the ``.nbi`` files beside them.
"""

from __future__ import annotations

import numpy as np

from hdrmerge.compiled import compiled

_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_MANTISSA = np.int32(23)  # bits
_ROOT = np.int32(0x3F3504F3)  # the bits of the root of 1/2
# log2((1 + s) / (1 - s)) as a power series in s, odd powers
_LOG = (np.float32(2.8853901), np.float32(0.9617967), np.float32(0.5770780), np.float32(0.4121986))
# 2^f as a power series, from f on
_EXP = (
    np.float32(0.69314718),
    np.float32(0.24022651),
    np.float32(0.055504109),
    np.float32(0.0096181291),
    np.float32(0.0013333558),
    np.float32(0.00015403530),
)
_LIMIT = np.float32(126.0)
_OFFSET = np.int32(512)


@compiled
def log2(x: np.float32) -> np.float32:
    """Of a normal positive number, to 6e-7."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32(np.int32(bits - _ROOT) >> _MANTISSA)
    mantissa = np.int32(bits - np.int32(exponent << _MANTISSA)).view(np.float32)
    s = (mantissa - _ONE) / (mantissa + _ONE)  # 0.172 at most
    q = s * s
    return np.float32(exponent) + s * (_LOG[0] + q * (_LOG[1] + q * (_LOG[2] + q * _LOG[3])))


@compiled
def exp2(x: np.float32) -> np.float32:
    """Of what is between -126 and 126, to a share of 3e-7; beyond as there."""
    x = x if x > -_LIMIT else -_LIMIT
    x = x if x < _LIMIT else _LIMIT
    whole = np.int32(np.int32(x + (np.float32(_OFFSET) + _HALF)) - _OFFSET)
    f = x - np.float32(whole)
    p = _EXP[3] + f * (_EXP[4] + f * _EXP[5])
    p = _ONE + f * (_EXP[0] + f * (_EXP[1] + f * (_EXP[2] + f * p)))
    return np.int32(np.float32(p).view(np.int32) + np.int32(whole << _MANTISSA)).view(np.float32)
