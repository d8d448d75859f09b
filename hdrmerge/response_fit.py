"""Estimates of the camera response from an aligned bracket.

``fit_response`` is a maximum a posteriori estimate of the log inverse response: a Gaussian prior
(mean and principal components of measured camera responses, Grossberg & Nayar, "What is the space
of camera response functions?", CVPR 2003, plus a smooth remainder that no database foresees)
against the log-ratios of ``comparison``. ``fit_debevec`` is Debevec & Malik, "Recovering high
dynamic range radiance maps from photographs", SIGGRAPH 1997, eq. 3, on the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.comparison import GRID, Array, Levels, Pair, Trial, compare

SMOOTH = 0.3  # standard deviation of the smooth remainder, natural log
LENGTH = 1.2  # its correlation length in ln(code fraction + TOE)
TOE = 0.03
ROUNDS = 3
STEP_SPREAD = 0.35  # prior standard deviation of a free exposure step, natural log


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """An estimated inverse response at ``GRID``, the log exposures (N,) it goes with (the first
    is 0) and what remained of each pair."""

    curve: Array
    log_exposure: Array
    levels: tuple[Levels, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Gaussian prior of h = ln(inverse response) - ln(inverse sRGB) at K code fractions."""

    nodes: Array
    mean: Array
    precision: Array
    base: Array  # inverse sRGB at GRID
    spline: Array  # (len(GRID), K): from values at the nodes to a smooth curve at GRID


@lru_cache(maxsize=1)
def load_prior() -> Prior:
    """The shipped prior; h is 0 at saturation."""
    source = files("hdrmerge").joinpath("data", "response_prior.npz")
    with source.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
        nodes = data["nodes"].astype(np.float64)
        mean = data["mean"].astype(np.float64)
        components = data["components"].astype(np.float64)
    t = np.log(nodes + TOE)
    kernel = np.exp(-0.5 * ((t[:, None] - t[None]) / LENGTH) ** 2)
    kernel = kernel - np.outer(kernel[:, -1], kernel[-1])
    covariance = components.T @ components + SMOOTH**2 * kernel + 1e-6 * np.eye(len(nodes))
    place = np.interp(GRID, np.concatenate([[0], nodes]), np.arange(-1, len(nodes)))
    return Prior(
        nodes, mean, np.linalg.inv(covariance), srgb_inverse(GRID), _spline(place, len(nodes))
    )


def _spline(place: Array, count: int) -> Array:
    """(P, count) weights that interpolate values at 0..count-1 at ``place`` (Catmull-Rom); level
    beyond the ends."""
    place = np.clip(place, 0, count - 1)
    low = np.minimum(place.astype(np.intp), count - 2)
    t = place - low
    cubic = (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (-(t**2) + t**3) / 2,
    )
    weights = np.zeros((len(place), count))
    for offset, part in enumerate(cubic, -1):
        np.add.at(weights, (np.arange(len(place)), np.clip(low + offset, 0, count - 1)), part)
    return weights


def srgb_inverse(code: NDArray[np.floating[Any]]) -> Array:
    """Linear value of an sRGB code fraction (IEC 61966-2-1)."""
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear, dtype=np.float64)


def fit_response(
    pairs: Sequence[Pair],
    log_exposure: Array,
    *,
    free: bool = False,
) -> Fit | None:
    """Maximum a posteriori inverse response of a bracket, one curve for all channels.

    ``log_exposure`` (N,) natural log. ``free``: the steps between the first and the last frame
    are estimated too; the span of both stays, since a longer span with a steeper response explains
    the same pixels. None where too little overlaps.
    """
    prior = load_prior()
    h: Array = np.zeros_like(prior.mean)
    exposure = np.array(log_exposure, dtype=np.float64)
    offsets = exposure - exposure[0]
    shift = np.zeros(len(offsets))
    directions = np.eye(len(offsets))[:, 1:-1] if free and len(offsets) > 2 else None
    for _ in range(ROUNDS + (2 if free else 0)):
        trial = Trial(tabulate(h))
        levels = _compare_all(pairs, trial, offsets + shift)
        if sum(len(entry.level) for entry in levels) < 8:
            return None
        rows, target, weight = _equations(levels, h, prior.spline)
        precision, mean = prior.precision, prior.precision @ prior.mean
        if directions is not None:
            extra = np.concatenate([_differences(entry, directions) for entry in levels])
            target = target - extra @ np.linalg.pinv(directions) @ shift
            rows = np.hstack([rows, -extra])
            k, d = len(precision), directions.shape[1]
            precision = np.block(
                [
                    [precision, np.zeros((k, d))],
                    [np.zeros((d, k)), directions.T @ directions / STEP_SPREAD**2],
                ]
            )
            mean = np.concatenate([mean, np.zeros(d)])
        solution = np.linalg.solve(
            (rows.T * weight) @ rows + precision, (rows.T * weight) @ target + mean
        )
        h = np.asarray(solution[: len(h)])
        if directions is not None:
            shift = directions @ solution[len(h) :]
    levels = _compare_all(pairs, Trial(tabulate(h)), offsets + shift)
    return Fit(tabulate(h), offsets + shift, tuple(levels))


def tabulate(h: Array) -> Array:
    """The inverse response at ``GRID`` of a log deviation ``h`` from sRGB; rises from 0 to 1."""
    prior = load_prior()
    x = prior.base * np.exp(prior.spline @ (h - h[-1]))
    x = np.maximum.accumulate(x)
    x = x + 1e-6 * GRID  # strictly rising
    return np.asarray(x / x[-1])


def _compare_all(pairs: Sequence[Pair], trial: Trial, log_exposure: Array) -> list[Levels]:
    steps = [float(log_exposure[p.brighter] - log_exposure[p.darker]) for p in pairs]
    compared = [compare(p, trial, step) for p, step in zip(pairs, steps, strict=True)]
    return [c for c in compared if c is not None]


def _equations(levels: Sequence[Levels], h: Array, spline: Array) -> tuple[Array, Array, Array]:
    """Rows (M, K), right sides (M,) and weights (M,): h(brighter) - h(darker) at each level.

    ``spline`` (len(GRID), K) makes a curve at ``GRID`` of the K unknowns.
    """
    rows, target, weight = [], [], []
    for entry in levels:
        m = len(entry.level)
        spread = np.zeros(m * len(GRID))
        for code, sign in zip(entry.codes(), (-1.0, 1.0), strict=True):
            place = np.clip(code, 0, 1) * (len(GRID) - 1)
            low = np.minimum(place.astype(np.intp), len(GRID) - 2)
            part = place - low
            for index, share in ((low, 1 - part), (low + 1, part)):
                at = entry.bins * len(GRID) + index
                spread += sign * np.bincount(at, entry.weights * share, minlength=len(spread))
        a = spread.reshape(m, len(GRID)) @ spline
        rows.append(a)
        target.append(a @ h - entry.deviation)
        weight.append(1 / entry.variance)
    return np.concatenate(rows), np.concatenate(target), np.concatenate(weight)


def _differences(entry: Levels, directions: Array) -> Array:
    """(M, D): change of the pair's step along each direction, the same at each level."""
    change = directions[entry.pair.brighter] - directions[entry.pair.darker]
    return np.repeat(change[None], len(entry.level), axis=0)


def fit_debevec(
    pairs: Sequence[Pair], log_exposure: Array, *, smoothness: float = 200.0
) -> Fit | None:
    """Debevec & Malik 1997: log inverse response at 256 codes by linear least squares.

    Eq. 3 with the unknown radiances eliminated pairwise: g(z_j) - g(z_i) = ln(t_j / t_i) under
    hat weights and a penalty ``smoothness`` on the second differences of g; no prior knowledge
    of cameras. None where too little overlaps.
    """
    offsets = np.asarray(log_exposure, dtype=np.float64)
    levels = _compare_all(pairs, Trial(srgb_inverse(GRID)), offsets)
    if sum(len(entry.level) for entry in levels) < 8:
        return None
    codes = np.linspace(0, 1, 256)
    spline = _spline(GRID * 255, 256)
    rows, target, weight = [], [], []
    for entry in levels:
        step = float(offsets[entry.pair.brighter] - offsets[entry.pair.darker])
        a, _, _ = _equations([entry], np.zeros(256), spline)
        centre = np.bincount(entry.bins, entry.weights * entry.codes()[1])
        rows.append(a)
        target.append(np.full(len(a), step))
        weight.append(np.minimum(centre, 1 - centre) + 0.05)
    a, y, w = np.concatenate(rows), np.concatenate(target), np.concatenate(weight)
    hat = np.minimum(codes, 1 - codes)[1:-1] + 0.02
    bend = np.diff(np.eye(256), n=2, axis=0) * hat[:, None] * smoothness
    fixed = np.eye(256)[-1:] * 1e3  # g(1) = 0: saturation is 1
    system = np.concatenate([a * w[:, None] * 10, bend, fixed])
    right = np.concatenate([y * w * 10, np.zeros(len(bend) + 1)])
    g = np.linalg.lstsq(system, right, rcond=None)[0]
    curve = np.exp(np.interp(GRID, codes, g)) * np.minimum(GRID / GRID[4], 1)
    curve = np.maximum.accumulate(curve) + 1e-6 * GRID
    curve /= curve[-1]
    return Fit(curve, offsets - offsets[0], tuple(_compare_all(pairs, Trial(curve), offsets)))
