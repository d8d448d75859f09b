"""Which frame of a bracket the others are aligned to and deghosted against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import Frame
from hdrmerge.response import Response

MU = 5000.0
QUANTILES = (np.arange(200) + 0.5) / 200
CLIPPED = 0.97
ELECTRONS = (
    3000.0  # full well of a middling camera; only the balance of noise and clipping needs it
)
TIE = 1.3  # of the squared error: about 1 dB is no reason to leave the middle


def choose_reference(
    frames: Sequence[Frame],
    exposures: NDArray[np.float64],
    response: Response,
    *,
    between: bool = False,
) -> int:
    """The frame that, used alone, would come closest to the merge of all.

    ``frames`` (small ones suffice) and their ``exposures`` (N,) in any scale. Judged on quantiles
    of the frames' linear values, so frames need no alignment: the error of frame k is measured
    after mu-law compression (mu = 5000, shortest frame's saturation = 1); what it clips counts
    with what is lost, what is dark with its noise. Ties go towards the middle of the bracket.
    ``between``: only frames with a shorter and a longer one are asked, where there are such.
    Returns the index in ``frames``.
    """
    n = len(frames)
    scale = exposures / exposures.min()
    levels = np.stack([_quantiles(f, response) for f in frames])  # (N, Q, 3) linear
    merged = _merge(levels, scale)
    errors = np.array([_error(merged, float(scale[k]), levels[k]) for k in range(n)])
    if between and n > 2:
        errors[[int(np.argmin(scale)), int(np.argmax(scale))]] = np.inf
    good = np.flatnonzero(errors <= errors.min() * TIE)
    rank = np.argsort(np.argsort(scale, kind="stable"), kind="stable")
    return int(min(good, key=lambda k: (abs(rank[k] - (n - 1) / 2), rank[k])))


def _quantiles(frame: Frame, response: Response) -> NDArray[np.float64]:
    step = max(1, int(np.sqrt(frame.pixels.shape[0] * frame.pixels.shape[1] / 100_000)))
    if step > 1:
        frame = replace(frame, pixels=np.ascontiguousarray(frame.pixels[::step, ::step]))
    return response.quantiles(frame, QUANTILES)


def _merge(levels: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of the merged radiance: sum of unclipped values over sum of exposures."""
    weight = scale[:, None, None] * (levels < CLIPPED)
    weight[int(np.argmin(scale))] += 1e-9  # the shortest frame always counts
    merged = (weight * levels / scale[:, None, None]).sum(0) / weight.sum(0)
    return np.asarray(np.clip(merged, 0, None))


def _error(merged: NDArray[np.float64], scale: float, levels: NDArray[np.float64]) -> float:
    """Mean squared mu-law error of one frame used alone."""
    clipped = levels >= CLIPPED
    value = np.where(clipped, np.minimum(merged, 1.0 / scale), merged)
    loss = _mu_law(np.maximum(merged, value)) - _mu_law(value)
    exposed = np.clip(merged * scale, 0, 1)
    # shot noise plus about one 8-bit code near black, as radiance
    sigma = np.sqrt(exposed / ELECTRONS + (1 / 1500) ** 2) / scale
    slope = MU / (1 + MU * merged) / np.log1p(MU)
    noise = np.where(clipped, 0.0, np.minimum(slope * sigma, 1.0))
    return float(np.mean(loss**2 + noise**2))


def _mu_law(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log1p(MU * x) / np.log1p(MU))
