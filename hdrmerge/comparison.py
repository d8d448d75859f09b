"""Frames compared with each other: by how much does the brighter exceed the darker, at each level?

Under the right response and the right exposures the log-ratio of two aligned frames is their
exposure step at every brightness. A constant deviation is a wrong step, one that varies with
brightness a wrong response. Everything here is symmetric in the noise of the two frames, since
a one-sided regression of noisy values on noisy values is biased.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hdrmerge.samples import SIDE, TILES, Blocks
from hdrmerge.threads import side_by_side

Array = NDArray[np.float64]

GRID = np.linspace(0, 1, 255 * 4 + 1)  # code fractions at which a trial curve is tabulated
BIN = 0.1  # width of a brightness bin, natural log
CLIPPED = 0.998  # code fraction from which a pixel is clipped
TOP = 0.988  # code fraction up to which the mean of a block is used
DARKEST = 6 / 255  # below, 8-bit codes say too little
PER_CELL = 12  # samples of a brightness bin that one tile may give to a pair; fewer in a
FEWEST_PER_CELL, ENOUGH = 4, 72  # bracket of many pairs, ``ENOUGH`` in all
TEXTURE = 0.15  # error per unit of texture: what misalignment and chroma subsampling leave
SYSTEMATIC = 0.003  # what remains unknown of a bin, however many samples it has
BIAS = 0.25  # error per unit of a pixel's relative variance
ELECTRONS = 10.0  # a pixel's least exposure
DARKEST_EXPOSURE = 0.005  # but what is brighter than this is always compared
FEWEST = 40
FARTHEST = 5.3 * np.log(2)
PIXELS = SIDE * SIDE


class Place:
    """Where code fractions (S,) lie on ``GRID``, so that many curves can be looked up there."""

    def __init__(self, code: Array) -> None:
        at = np.clip(code, 0, 1) * (len(GRID) - 1)
        self.low = np.minimum(at.astype(np.intp), len(GRID) - 2)
        self.part = at - self.low

    def look_up(self, table: Array) -> Array:
        """``table`` (len(GRID),) interpolated linearly."""
        low = table[self.low]
        return np.asarray(low + self.part * (table[self.low + 1] - low))


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Samples of frames ``darker`` and ``brighter``: code statistics (S,), per sample.

    ``place``: the same mean codes on ``GRID``; ``noise``: the variance of a pixel's code that noise
    alone makes. The three channels are pooled.
    """

    darker: int
    brighter: int
    mean: tuple[Array, Array]
    place: tuple[Place, Place]
    variance: tuple[Array, Array]
    noise: tuple[Array, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What one pair says at M brightness levels under a trial response and step.

    ``level`` (M,): log exposure in the brighter frame; ``deviation`` (M,): log-ratio less the
    trial step; ``variance`` (M,) of it; ``linear`` and ``weights``: exposures of the samples (S,)
    in darker and brighter frame, under ``trial``, and their weights, ``bins`` (S,) their level.
    ``scatter``: variance of a sample's log-ratio that noise does not explain, the levels' median:
    misalignment and motion.
    """

    pair: Pair
    level: Array
    deviation: Array
    variance: Array
    bins: NDArray[np.intp]
    weights: Array
    linear: tuple[Array, Array]
    trial: Trial | None
    scatter: float

    def codes(self) -> tuple[Array, Array]:
        """Effective code fractions of the samples (S,) in darker and brighter frame."""
        darker, brighter = self.linear
        if self.trial is None:
            return darker, brighter
        return self.trial.code(darker), self.trial.code(brighter)


def make_pairs(blocks: Blocks, curve: Array, log_exposure: Array) -> list[Pair]:
    """Pairs of frames that overlap, their samples spread over tiles and brightness.

    ``curve``: a provisional inverse response at ``GRID``; ``log_exposure`` (N,) ascending.
    Neighbours and next neighbours are compared, up to about five stops apart.
    """
    n = len(blocks.mean)
    noise = side_by_side(partial(_noise_by_code, blocks), range(n))
    compared = [
        (i, j)
        for i in range(n)
        for j in range(i + 1, min(i + 3, n))
        if j == i + 1 or log_exposure[j] - log_exposure[i] <= FARTHEST
    ]
    per_cell = min(PER_CELL, max(FEWEST_PER_CELL, ENOUGH // len(compared)))

    def pair_of(places: tuple[int, int]) -> Pair:
        i, j = places
        step = float(log_exposure[j] - log_exposure[i])
        chosen = _spread(blocks, (i, j), curve, step, noise[j], per_cell)
        mean = [blocks.mean[k].reshape(-1)[chosen].astype(np.float64) for k in (i, j)]
        spread = [blocks.variance[k].reshape(-1)[chosen].astype(np.float64) for k in (i, j)]
        floor = [np.interp(mean[s], *noise[k]) for s, k in enumerate((i, j))]
        return Pair(
            i,
            j,
            (mean[0], mean[1]),
            (Place(mean[0]), Place(mean[1])),
            (spread[0], spread[1]),
            (floor[0], floor[1]),
        )

    return side_by_side(pair_of, compared)


def _noise_by_code(blocks: Blocks, k: int) -> tuple[Array, Array]:
    """Code fractions and the variance of pixels there in flat blocks of frame k."""
    z = blocks.mean[k].reshape(-1)[::7]
    s = blocks.variance[k].reshape(-1)[::7]
    index = np.clip((z * 32).astype(np.intp), 0, 31)
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], np.arange(33))
    found = [
        ((b + 0.5) / 32, float(np.quantile(s[order[bounds[b] : bounds[b + 1]]], 0.3)))
        for b in range(32)
        if bounds[b + 1] - bounds[b] >= 10
    ]
    if not found:
        return np.array([0.0, 1.0]), np.full(2, 1e-4)
    least = 1 / (12 * 255.0**2)
    return np.array([f[0] for f in found]), np.array([max(f[1], least) for f in found])


def _spread(
    blocks: Blocks,
    pair: tuple[int, int],
    curve: Array,
    step: float,
    noise: tuple[Array, Array],
    per_cell: int,
) -> NDArray[np.intp]:
    """Indices into (B * 3) of samples worth comparing: flat ones, at most ``per_cell`` a cell."""
    from hdrmerge.comparison_loops import choose

    i, j = pair
    chosen: NDArray[np.intp] = choose(
        blocks.mean[i].reshape(-1),
        blocks.mean[j].reshape(-1),
        blocks.variance[j].reshape(-1),
        blocks.highest[j].reshape(-1),
        blocks.tile,
        curve,
        np.interp(GRID, *noise),
        (0.4 * DARKEST, DARKEST),
        CLIPPED,
        float(np.exp(step)),
        BIN,
        TILES * TILES,
        per_cell,
    )
    return chosen


class Trial:
    """An inverse response tabulated at ``GRID`` with what comparing needs of it."""

    def __init__(self, curve: Array) -> None:
        self.x = np.asarray(curve, dtype=np.float64)
        self.slope = np.gradient(self.x, GRID)
        self.bend = np.gradient(self.slope, GRID)
        self.rising = np.maximum.accumulate(self.x) + np.arange(len(GRID)) * 1e-12

    def linear(self, place: Place, variance: Array) -> Array:
        """Mean exposure of blocks with codes of that mean and variance."""
        x = place.look_up(self.x)
        correction = 0.5 * place.look_up(self.bend) * variance
        return np.asarray(np.maximum(x + np.clip(correction, -0.3 * x, 0.3 * x), 1e-7))

    def code(self, x: Array) -> Array:
        return np.asarray(np.interp(x, self.rising, GRID))


def compare(pair: Pair, trial: Trial | None, step: float) -> Levels | None:
    """What ``pair`` says under ``trial`` (None: codes are linear) and ``step`` (natural log).

    Samples are binned by the noise-weighted mean of both frames' log exposures, which is
    uncorrelated with their difference; outliers (motion, more than 2x off or far from the level's
    median) are dropped. None where nothing overlaps.
    """
    log, relative, linear = [], [], []
    slope = np.ones(1)
    for mean, place, variance, noise in zip(
        pair.mean, pair.place, pair.variance, pair.noise, strict=True
    ):
        if trial is None:
            x = np.maximum(mean, 1e-7)
        else:
            x, slope = trial.linear(place, variance), place.look_up(trial.slope)
        linear.append(x)
        log.append(np.log(x))
        relative.append(slope**2 * noise / x**2)  # variance of a pixel's log exposure
    vi, vj = relative[0] / PIXELS + 1e-6, relative[1] / PIXELS + 1e-6
    level = (vj * (log[0] + step) + vi * log[1]) / (vi + vj)
    top = TOP if trial is None else float(np.interp(TOP, GRID, trial.x))
    dark = 0.0 if trial is None else float(np.interp(DARKEST, GRID, trial.x))
    keep = np.flatnonzero(
        (level < np.log(top) - 0.02)
        & (level - step > np.log(max(dark, 1e-6)))
        & (relative[0] < 0.4)
    )
    if len(keep) < FEWEST:
        return None
    number = np.floor(level[keep] / BIN).astype(np.int16)
    order = np.argsort(number, kind="stable")
    keep, number = keep[order], number[order]
    starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
    found, counts = number[starts], np.diff(starts, append=len(number))
    bins = np.repeat(np.arange(len(found)), counts)
    difference = (log[1] - log[0])[keep] + ((relative[1] - relative[0])[keep] / (2 * PIXELS)) - step
    texture = (slope**2 * pair.variance[1] / np.exp(2 * log[1]))[keep]  # of the brighter frame
    weights = 1 / ((vi + vj)[keep] + TEXTURE**2 * texture + 1e-5)
    centre, spread, raw = _robust(difference, weights, bins, counts)
    weights = weights * _bisquare((difference - centre[bins]) / (4 * spread[bins]))
    total = np.bincount(bins, weights)
    effective = total**2 / np.maximum(np.bincount(bins, weights**2), 1e-30)
    # Codes of noisy pixels that JPEG has smoothed are a biased mean of their exposure (Jensen), and
    # noise clipped at black looks like light: both end where shot noise, as the brighter levels
    # show it, leaves a pixel ten electrons.
    pixel_noise = np.minimum(PIXELS * spread**2, 1.0)
    exposed = np.exp((found + 0.5) * BIN - step)
    lit = (counts >= FEWEST) & (exposed > DARKEST_EXPOSURE)
    electron = float(np.median((pixel_noise * exposed)[lit])) if lit.any() else 1.0
    good = (counts >= FEWEST) & (total > 0)
    good &= exposed > min(ELECTRONS * electron, DARKEST_EXPOSURE)
    places = np.cumsum(good) - 1
    samples = good[bins]
    if not good.any():
        return None
    noise_alone = np.bincount(bins, (vi + vj)[keep]) / counts
    return Levels(
        pair,
        (found[good] + 0.5) * BIN,
        (np.bincount(bins, weights * difference) / np.maximum(total, 1e-30))[good],
        (spread**2 / np.maximum(effective, 1) + SYSTEMATIC**2 + (BIAS * pixel_noise) ** 2)[good],
        places[bins[samples]].astype(np.intp),
        (weights / np.maximum(total, 1e-30)[bins])[samples],
        (linear[0][keep][samples], linear[1][keep][samples]),
        trial,
        float(np.median(np.maximum(raw**2 - noise_alone, 0)[good])),
    )


def _robust(
    value: Array, weights: Array, bins: NDArray[np.intp], counts: NDArray[np.intp]
) -> tuple[Array, Array, Array]:
    """Centre and spread of each bin: median and MAD, then a bisquare step; spread < ln(2) / 4.
    Last the spread without that limit."""
    centre = _medians(value, counts)
    raw = 1.4826 * _medians(np.abs(value - centre[bins]), counts) + 1e-4
    spread = np.minimum(raw, np.log(2) / 4)
    for _ in range(2):
        w = weights * _bisquare((value - centre[bins]) / (4 * spread[bins]))
        total = np.bincount(bins, w, minlength=len(counts))
        mean = np.bincount(bins, w * value, minlength=len(counts)) / np.maximum(total, 1e-30)
        centre = np.where(total > 0, mean, centre)
    return centre, spread, raw


def _medians(value: Array, counts: NDArray[np.intp]) -> Array:
    """Median of ``value`` in each bin, of which there are ``counts``, one after the other."""
    from hdrmerge.comparison_loops import medians

    out = np.empty(len(counts))
    medians(np.ascontiguousarray(value), counts, out)
    return out


def _bisquare(z: Array) -> Array:
    return np.asarray(np.where(np.abs(z) < 1, (1 - z * z) ** 2, 0.0))
