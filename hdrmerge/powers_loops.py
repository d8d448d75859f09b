"""Logarithms and powers for loops: the library's own are not computed eight at a time.

Loops are kept on disk with these inlined, and do not notice a change here: remove the ``.nbi``
files beside them.
"""

from __future__ import annotations

import numpy as np

from hdrmerge.compiled import compiled

_ONE = np.float32(1)
_LN2 = np.float32(np.log(2))
_SQRT_HALF = np.float32(0.5**0.5).view(np.int32)  # bits: where mantissas are cut in two

# Polynomials fitted at Chebyshev's nodes, highest power first: log(1 + f) / f for 1 + f between
# sqrt(1/2) and sqrt(2), to 5e-8; 2^r for r in [0, 1], to 1e-7 of it.
_LOG = tuple(
    np.float32(c)
    for c in (
        *(0.0874394535, -0.1437733057, 0.1494909548, -0.1656069599, 0.1995697748),
        *(-0.2500215346, 0.3333418334, -0.4999998703, 0.9999999743),
    )
)
_EXP2 = tuple(
    np.float32(c)
    for c in (0.0018951073, 0.0089462147, 0.0558632827, 0.2401407701, 0.69315462, 0.9999998958)
)
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8 = _LOG
_E0, _E1, _E2, _E3, _E4, _E5 = _EXP2


@compiled
def log(x: np.float32) -> np.float32:
    """The natural logarithm of a positive number, to 1e-7 of the larger of it and 1."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32((bits - _SQRT_HALF) >> 23)
    f = np.int32(bits - (exponent << 23)).view(np.float32) - _ONE
    p = ((_C0 * f + _C1) * f + _C2) * f + _C3
    p = ((((p * f + _C4) * f + _C5) * f + _C6) * f + _C7) * f + _C8
    return p * f + np.float32(exponent) * _LN2


@compiled
def power_of_two(x: np.float32) -> np.float32:
    """2^x to 2e-7 of it, x between -126 and 126."""
    whole = np.int32(x + np.float32(127)) - 127
    r = x - np.float32(whole)
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    return p * np.int32((whole + 127) << 23).view(np.float32)
