"""A small quadratic problem: the slopes of a tone curve that fits a display."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def minimise(matrix: Array, vector: Array, limit: float) -> Array:
    """The x >= 0 with sum(x) <= ``limit`` that makes x' ``matrix`` x / 2 + ``vector``' x least.

    ``matrix`` (N, N), symmetric, positive definite. A primal-dual interior-point method (Nocedal
    and Wright 2006, "Numerical optimization", section 16.6), which stays within the bounds.
    """
    size = len(vector)
    scale = float(np.abs(matrix).max())
    matrix, vector = matrix / scale, vector / scale
    slack = np.full(size + 1, limit / (size + 1))  # x, and what is left of the limit
    duals = np.full(size + 1, max(1.0, float(np.abs(vector).max())))
    for _ in range(100):
        gap = float(slack @ duals) / (size + 1)
        residual = matrix @ slack[:-1] + vector - duals[:-1] + duals[-1]
        if gap < 1e-9 and np.abs(residual).max() < 1e-6:
            break
        wanted = 0.1 * gap / slack - duals
        ratio = duals / slack
        right = wanted[:-1] - wanted[-1] - residual
        try:
            step = np.linalg.solve(matrix + np.diag(ratio[:-1]) + ratio[-1], right)
        except np.linalg.LinAlgError:
            break  # as near as the numbers' precision allows
        slack_step = np.append(step, -step.sum())
        dual_step = wanted - ratio * slack_step
        length = min(1.0, 0.99 * min(_room(slack, slack_step), _room(duals, dual_step)))
        slack = slack + length * slack_step
        duals = duals + length * dual_step
    return slack[:-1]


def _room(values: Array, step: Array) -> float:
    """How many times ``step`` can be taken before one of ``values`` is 0."""
    down = step < 0
    return float(np.min(values[down] / -step[down], initial=np.inf))
