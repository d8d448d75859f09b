"""How much frames differ, in standard deviations of what noise and misalignment make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.fusion.noise import NoiseModel

LEVELS = 44  # of tolerances, half a stop each
_SLACK = (0.7, 0.5, 0.4)  # share of the 3 x 3 range that misalignment may explain, by level
_SIDE = 1 << (len(_SLACK) - 1)  # sizes are filled up to multiples, to be halved evenly
_HALO = 12  # rows of multiples that windows of all levels reach into


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What the frames of a bracket show: ``linear`` values (N, h, w, 3), how surely each is
    ``below`` saturation (N, h, w), and how far it is trusted (N, h, w)."""

    linear: FloatArray
    below: FloatArray
    trust: FloatArray
    exposures: NDArray[np.float64]
    reference: int


@dataclass(frozen=True, slots=True, eq=False)
class Tolerance:
    """What is no motion: relative errors ``by_level`` of radiance (LEVELS,); and how many times too
    bright (1: none) the more exposed of two frames may be in the other channels of pixels that clip
    in one. Cameras let colours fade to white there."""

    by_level: FloatArray
    faded: float = 1.0


def level_of(radiance: FloatArray) -> NDArray[np.uint8]:
    """Half stops above 2^-16, as an index into the tolerances."""
    level = (np.log2(np.maximum(radiance, np.float32(1e-9))) + np.float32(16.0)) * np.float32(2.0)
    return np.asarray(np.clip(level, 0, LEVELS - 1), np.uint8)


def sides_of(
    shown: Shown,
    noise: NoiseModel,
    used: Sequence[int],
    k: int,
    rows: slice,
    side: int = 1,
    faded: float = 1.0,
) -> FloatArray:
    """Planes (9, h, w), h and w multiples of ``side``: radiance (3) that the frames ``used`` agree
    on and that frame k shows (3), both cut at the radiance at which either saturates; the exposure
    behind the first; how surely it lies beyond the cut; the cut.

    A reference far above what a long frame can tell has no noise left at the cut, and contradicts
    the frame by the least that it falls short.
    """
    from hdrmerge.fusion.evidence_loops import PLANES, two_sides

    height, width = (-(-n // side) * side for n in (rows.stop - rows.start, shown.below.shape[2]))
    planes = np.empty((PLANES, height, width), np.float32)
    two_sides(
        shown.linear,
        shown.below,
        shown.trust,
        np.array(used, np.int64),
        k,
        shown.exposures.astype(np.float32),
        _terms(noise, shown.reference),
        np.float32(faded),
        rows.start,
        planes,
    )
    return planes


def evidence_of(
    shown: Shown,
    noise: NoiseModel,
    used: Sequence[int],
    k: int,
    tolerance: Tolerance,
    rows: slice,
    out: FloatArray,
) -> None:
    """Fill ``rows`` of ``out`` (h, w) with the standard deviations by which frame k differs from
    what the frames ``used`` agree on, beyond ``tolerance``.

    Windows of 3 x 3 pixels, of twice and of four times the size.
    """
    import cv2

    from hdrmerge.fusion.evidence_loops import COMPARED, compare

    height, width = out.shape
    top, bottom = max(0, rows.start - _HALO), min(height, rows.stop + _HALO)
    sides = sides_of(shown, noise, used, k, slice(top, bottom), _SIDE, tolerance.faded)
    levels = [sides[:COMPARED]]
    for _ in _SLACK[1:]:
        _, h, w = levels[-1].shape  # the planes are halved as one tall one
        tall = levels[-1].reshape(-1, w)
        half = cv2.resize(tall, (w // 2, tall.shape[0] // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half).reshape(COMPARED, h // 2, w // 2))
    found = np.zeros((2, *levels[-1].shape[1:]), np.float32)
    found[1] = 1.0
    for i in range(len(levels) - 1, -1, -1):
        above, found = found, np.empty((2, *levels[i].shape[1:]), np.float32)
        for plane, large in zip(above, found, strict=True):
            cv2.resize(plane, large.shape[::-1], dst=large)
        compare(
            levels[i],
            np.square(tolerance.by_level),
            _terms(noise, shown.reference),
            _terms(noise, k),
            np.float32(shown.exposures[k]),
            np.float32(noise.step),
            np.float32(9.0 * 4.0**i),
            np.float32(_SLACK[i]),
            found,
        )
    out[rows] = found[0, rows.start - top : rows.stop - top, :width]


def _terms(noise: NoiseModel, k: int) -> tuple[np.float32, np.float32, np.float32]:
    return np.float32(noise.read[k]), np.float32(noise.gain[k]), np.float32(noise.curve)
