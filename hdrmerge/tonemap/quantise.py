"""From linear display values to the codes of a picture, dithered on request."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.transfer import srgb_encode

_STEPS = 65536  # of the table's linear values; at black, where codes are dense, 0.05 codes apart
_TILE = 32  # side of the threshold matrix: four of each of the 256 thresholds
_SIGMA = 1.5  # of the Gaussian by which voids are found, in pixels, as Ulichney advises


def quantise(fraction: FloatArray, bits: int) -> NDArray[Any]:
    """Code fractions to the nearest of 2^bits codes."""
    full = 2**bits - 1
    codes = np.clip(fraction * np.float32(full) + np.float32(0.5), 0, full)
    return np.asarray(codes, dtype=np.uint8 if bits == 8 else np.uint16)


def encode(linear: FloatArray, bits: int, *, top: int = 0, dither: bool = False) -> NDArray[Any]:
    """sRGB codes (H, W, 3), uint8 or uint16, of linear values in [0, 1].

    ``dither`` (8 bits): smooth gradients show no bands, since a code is rounded up in as many
    pixels of a neighbourhood as its fraction says. The three channels share the threshold, so that
    grey stays grey; black and white stay as they are. ``top`` is the picture's row that these
    begin with: the result does not depend on the bands in which a picture is encoded.
    """
    if bits != 8:
        return quantise(srgb_encode(linear), bits)
    from hdrmerge.tonemap.display_loops import codes_of

    codes = np.empty(linear.shape, np.uint8)
    height, width = linear.shape[:2]
    rounding = _across(width) if dither else np.full((1, width), 128, np.uint16)
    flat = np.ascontiguousarray(linear).reshape(height, -1)
    codes_of(flat, _table(), rounding, top, codes.reshape(height, -1))
    return codes


@functools.lru_cache(maxsize=4)
def _across(width: int) -> NDArray[np.uint16]:
    """The thresholds of ``_TILE`` rows of a picture so wide."""
    return np.ascontiguousarray(thresholds()[:, np.arange(width) % _TILE])


@functools.cache
def _table() -> NDArray[np.uint16]:
    """sRGB codes of ``_STEPS`` linear values, times 256."""
    fraction = srgb_encode(np.linspace(0, 1, _STEPS, dtype=np.float32))
    return np.asarray(np.rint(fraction.astype(np.float64) * 255 * 256), np.uint16)


@functools.cache
def thresholds() -> NDArray[np.uint16]:
    """A matrix of 0..255, each as often, whose every level is spread evenly: blue noise.

    Pixels are ranked by filling the largest void again and again (Ulichney 1993, "The
    void-and-cluster method for dither array generation"), on a torus, so that tiles fit.
    """
    steps = np.minimum(np.arange(_TILE), _TILE - np.arange(_TILE)).astype(np.float64)
    bump = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * _SIGMA**2))
    twice = np.tile(bump, (2, 2))
    # A little noise keeps the first pixels off a lattice.
    crowd = np.random.default_rng(0).uniform(0, 0.2, (_TILE, _TILE))
    ranks = np.empty((_TILE, _TILE), np.int64)
    for rank in range(_TILE**2):
        y, x = divmod(int(np.argmin(crowd)), _TILE)
        ranks[y, x] = rank
        crowd += twice[_TILE - y : 2 * _TILE - y, _TILE - x : 2 * _TILE - x]
        crowd[y, x] = np.inf
    return np.asarray(ranks * 256 // _TILE**2, np.uint16)
