"""Exposure ratios of an aligned bracket: what its pixels say, how certain that is, and EXIF.

Hanji & Mantiuk, "Robust estimation of exposure ratios in multi-exposure image stacks", IEEE TCI
2023: noise-weighted least squares on log-ratios, reverted when absurd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdrmerge.comparison import Array, Levels, Pair, Trial, compare
from hdrmerge.threads import side_by_side

LN2 = float(np.log(2))
STEP_AGREES = 0.03  # log-ratio by which EXIF may be off: shutters, and times that are rounded
STEP_ABSURD = 2.5 * LN2  # a step measured this far from the expected one is no measurement
CLOSURE = 0.15  # log-ratio by which measured steps may contradict each other
FEW_LEVELS = 0.1  # standard error that a single level of brightness leaves
DILUTION = 1.0  # error per unit of scatter that noise does not explain
NO_OVERLAP = "too little overlaps"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Log exposures (N,) that the pixels show under a response, the first 0, and their covariance
    (N, N); ``shape``: rms deviation that no choice of steps explains. ``trouble`` says why the
    measurement is not to be trusted ('' = it is)."""

    log_exposure: Array
    covariance: Array
    shape: float
    trouble: str

    def error(self, base: int) -> Array:
        """Standard errors (N,) relative to frame ``base``, natural log."""
        own = np.diag(self.covariance)
        return np.asarray(np.sqrt(np.maximum(own + own[base] - 2 * self.covariance[base], 0)))


def measure(
    pairs: Sequence[Pair], trial: Trial | None, expected: Array, *, anchored: bool
) -> Measured:
    """Log exposures from the pairs' log-ratios by weighted least squares.

    ``expected`` (N,) is where binning starts; ``anchored``: it is a serious expectation, and a
    measurement far from it is absurd.
    """
    n = len(expected)
    current = np.array(expected, dtype=np.float64)
    levels: list[Levels] = []
    for _ in range(2):  # bins follow the steps
        trials = [float(current[pair.brighter] - current[pair.darker]) for pair in pairs]
        compared = side_by_side(
            lambda one: compare(one[0], trial, one[1]), zip(pairs, trials, strict=True)
        )
        levels = [found for found in compared if found is not None]
        rows = np.zeros((len(levels), n))
        offset, variance = np.zeros(len(levels)), np.ones(len(levels))
        for index, found in enumerate(levels):
            rows[index, found.pair.brighter], rows[index, found.pair.darker] = 1.0, -1.0
            offset[index], variance[index], _ = _constant(found)
            # Of blocks as bright as this in one frame, others are in a displaced one, mostly those
            # that the scene has more of: the dilution of a regression, the same at all levels.
            variance[index] += (DILUTION * found.scatter) ** 2
        linked = np.linalg.matrix_rank(rows) == n - 1 if levels else False
        if not linked:
            return Measured(current - current[0], np.zeros((n, n)), 0.0, NO_OVERLAP)
        steps = rows @ current + offset
        normal = rows[:, 1:].T @ (rows[:, 1:] / variance[:, None])
        solution = np.linalg.solve(normal, rows[:, 1:].T @ (steps / variance))
        current = np.concatenate([[0.0], solution])
    covariance = np.zeros((n, n))
    covariance[1:, 1:] = np.linalg.inv(normal)
    closure = float(np.max(np.abs(rows @ current - steps)))
    shape = float(np.sqrt(np.mean([_constant(found)[2] for found in levels])))
    trouble = ""
    if np.any(np.diff(current) < -3 * np.sqrt(np.diag(covariance))[1:] - STEP_AGREES):
        trouble = "the measured exposures do not ascend"
    elif closure > CLOSURE + shape:
        trouble = "the measured exposures contradict each other"
    elif anchored and np.max(np.abs(np.diff(current - expected))) > STEP_ABSURD:
        trouble = "the measured exposures are absurd"
    return Measured(current, covariance, shape, trouble)


def settle(measured: Measured, expected: Array) -> Array | None:
    """Log exposures (N,) where the pixels contradict the ``expected`` ones (N,), else None.

    A step that the pixels contradict is theirs; in every other both have a say, by how certain
    they are.
    """
    off = measured.log_exposure - expected
    base = max(STEP_AGREES, 2 * measured.shape)
    if np.all(np.abs(off) <= np.maximum(base, 3 * measured.error(0))):
        return None
    step = np.diff(np.eye(len(off)), axis=0)
    error = np.sqrt(np.diag(step @ measured.covariance @ step.T))
    agrees = step[np.abs(step @ off) <= np.maximum(base, 3 * error)]
    # what the steps that agree are told by EXIF, weighed against the measurement (Kalman's update)
    spread = agrees @ measured.covariance @ agrees.T + STEP_AGREES**2 * np.eye(len(agrees))
    gain = measured.covariance @ agrees.T @ np.linalg.inv(spread)
    return np.asarray(measured.log_exposure - gain @ (agrees @ off))


def _constant(levels: Levels) -> tuple[float, float, float]:
    """Mean deviation of a pair, its variance, and the variance around it beyond noise."""
    weight = 1 / (levels.variance + 0.01**2)
    mean = float((weight * levels.deviation).sum() / weight.sum())
    around = (levels.deviation - mean) ** 2
    excess = max(0.0, float((weight * (around - levels.variance)).sum() / weight.sum()))
    scatter = float((weight * around).sum() / weight.sum())
    few = FEW_LEVELS / len(levels.level)  # near clipping alone, a mean is worth little
    return mean, scatter / len(levels.level) + 0.002**2 + few**2, excess
