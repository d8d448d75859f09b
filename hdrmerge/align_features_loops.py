"""The loop of ``align_features``: for each word the nearest of others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled

Longs = NDArray[np.uint64]

_FAR, _INDEX = np.int64(2**62), np.int64(2**32 - 1)
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_EIGHTS, _BYTES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


@compiled
def _bits(word: np.uint64) -> np.int64:
    """How many bits are set; a form in which the compiler knows the processor's instruction."""
    word -= (word >> _S1) & _PAIRS
    word = (word & _FOURS) + ((word >> _S2) & _FOURS)
    word = (word + (word >> _S4)) & _EIGHTS
    return np.int64((word * _BYTES) >> _S56)


@compiled
def _distances(words: Longs, others: Longs, out: NDArray[np.int64]) -> None:
    """How many bits of ``words`` (4,) differ from each of ``others`` (4, N): ``out`` (N,)."""
    a, b, c, d = words[0], words[1], words[2], words[3]
    e, f, g, h = others[0], others[1], others[2], others[3]
    for i in range(out.size):
        out[i] = _bits(a ^ e[i]) + _bits(b ^ f[i]) + _bits(c ^ g[i]) + _bits(d ^ h[i])


@compiled
def nearest(
    ours: Longs, theirs: Longs, first: NDArray[np.int64], second: NDArray[np.int64]
) -> None:
    """For each of ``ours`` (M, 4) the nearest of ``theirs`` (4, N) in Hamming distance, the first
    of them, into ``first`` (M,), and for each of theirs ``second`` (N,) of ours."""
    distance = np.empty(second.size, np.int64)
    second[:] = _FAR
    for i in range(first.size):
        _distances(ours[i], theirs, distance)
        best = _FAR
        for k in range(second.size):
            here = (distance[k] << 32) + k
            there = (distance[k] << 32) + i
            best = here if here < best else best
            second[k] = there if there < second[k] else second[k]
        first[i] = best & _INDEX
    for k in range(second.size):
        second[k] &= _INDEX
