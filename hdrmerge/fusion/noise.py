"""Noise of a frame as a function of its linear value, measured blindly on the bracket itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import side_by_side

_STRIPS = 24
_SAMPLE_PIXELS = 1_500_000
_DARK, _BRIGHT = 0.004, 0.85  # linear values between which blocks are used
_QUANTILE = 0.3  # of the blocks' variances in a bin: the upper ones hold motion and texture
_QUANTILE_TO_MEAN = 1.12  # of a variance from 63 pixels, mildly correlated
_FEWEST = 24  # blocks in a bin
_STEEPEST = 2.0  # most that the curve's term may be of the gain's at saturation


@dataclass(frozen=True, slots=True, eq=False)
class NoiseModel:
    """Variance of a linear value x (1 = saturation) in frame k: read_k + gain_k x + curve x^2.

    ``read`` and ``gain`` are (N,). Read noise and photon noise make the first two terms (Foi et
    al. 2008, eq. 2); quantisation and JPEG errors, even in codes, reach linear values through the
    slope of the inverse response and are soaked up by all three. ``step`` is the linear value of
    one code near black: errors of its size are alike in neighbouring pixels, so that averaging does
    not remove them. ``pixels`` is the number of pixels of the frames that it was measured on.
    """

    read: NDArray[np.float64]
    gain: NDArray[np.float64]
    curve: float
    step: float
    pixels: int

    def variance(self, linear: FloatArray, frame: int) -> FloatArray:
        """Variance of ``linear`` (any shape, negatives count as 0) in ``frame``, float32, > 0."""
        variance = np.clip(linear, 0.0, 1.0)
        scaled = variance * np.float32(self.curve)
        scaled += np.float32(self.gain[frame])
        variance *= scaled
        variance += np.float32(self.read[frame])
        return np.asarray(variance, dtype=np.float32)

    @property
    def terms(self) -> FloatArray:
        """(N, 3): read, gain and curve of every frame."""
        columns = [self.read, self.gain, np.full_like(self.gain, self.curve)]
        return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float32)

    def averaged(self, pixels: int) -> NoiseModel:
        """The noise of the same frames area-averaged to ``pixels`` pixels."""
        share = min(1.0, pixels / self.pixels)
        return replace(
            self,
            read=self.read * share,
            gain=self.gain * share,
            curve=self.curve * share,
            pixels=pixels,
        )


def estimate_noise(stack: ExposureStack) -> NoiseModel:
    """Noise of an aligned, calibrated bracket, from differences between neighbouring exposures.

    The radiance difference of two frames is pure noise where nothing moves; its variance within
    small blocks, binned by radiance, is fitted with non-negative coefficients. A low quantile of
    each bin leaves motion and misalignment out. Sensor gain is shared by the frames and scales with
    ISO where the files tell it. Falls back to a typical camera where too little can be measured.
    """
    height, width = stack.shape
    scales = _iso_scales(stack)
    rows: list[
        tuple[float, float, float, float]
    ] = []  # coefficients of read, gain, curve; variance
    counts: list[float] = []
    blocks = _blocks(stack)
    for i in range(len(stack) - 1):
        ti, tj = float(stack.exposures[i]), float(stack.exposures[i + 1])
        si, sj = scales[i], scales[i + 1]
        radiance, variance = blocks[i]
        levels = np.floor(np.log2(np.maximum(radiance * ti, 1e-9)) * 2)
        for level in np.unique(levels):
            chosen = levels == level
            count = int(np.count_nonzero(chosen))
            if count < _FEWEST:
                continue
            x = float(np.mean(radiance[chosen]))
            measured = float(np.quantile(variance[chosen], _QUANTILE)) * _QUANTILE_TO_MEAN
            if measured <= 0:
                continue
            rows.append((si / ti**2 + sj / tj**2, x * (si / ti + sj / tj), 2 * x * x, measured))
            counts.append(min(count, 1000) ** 0.5)
    step = _dark_step(stack)
    if len(rows) < 3:
        read, gain, curve = 4e-6, 1.0 / 4000.0, 1e-5
    else:
        read, gain, curve = _fit(np.array(rows), np.array(counts))
    return NoiseModel(
        read=np.maximum(read * scales, max(step**2 / 12, 1e-10)),
        gain=np.maximum(gain, 1e-7) * scales,
        curve=curve,
        step=step,
        pixels=height * width,
    )


def _iso_scales(stack: ExposureStack) -> NDArray[np.float64]:
    """(N,) ISO of each frame over the reference's; ones unless every file tells it."""
    isos = [frame.settings.iso for frame in stack.frames]
    known = [iso for iso in isos if iso is not None]
    if len(known) < len(isos):
        return np.ones(len(isos))
    return np.asarray(known) / known[stack.reference]


def _blocks(stack: ExposureStack) -> list[tuple[FloatArray, FloatArray]]:
    """For each pair of neighbours: radiance and variance of the difference, of each block and
    channel where both frames are well exposed; from strips of rows spread over the frames."""
    from hdrmerge.fusion.noise_loops import BLOCK, compare

    height, width = stack.shape
    strip = int(np.clip(_SAMPLE_PIXELS // (width * _STRIPS), 1, max(1, height // _STRIPS // BLOCK)))
    strip = max(BLOCK, strip // BLOCK * BLOCK)
    if height < BLOCK or width < BLOCK:
        return [(np.empty(0, np.float32), np.empty(0, np.float32)) for _ in stack.frames[1:]]
    starts = np.unique(np.linspace(0, height - strip, _STRIPS).astype(int).clip(0))

    least, end = np.float32(_DARK), np.float32(_BRIGHT)
    exposures = [np.float32(e) for e in stack.exposures]
    most = 3 * (strip // BLOCK) * (width // BLOCK)

    def look(start: int) -> list[FloatArray]:
        seen = [stack.planes(k, slice(start, start + strip)) for k in range(len(stack))]
        pairs = []
        for k in range(len(stack) - 1):
            (darker, one), (brighter, other) = seen[k : k + 2]
            found = np.empty((2, most), np.float32)
            number = compare(
                darker,
                brighter,
                np.stack([one, other]),
                (exposures[k], exposures[k + 1]),
                (least, end),
                found,
            )
            pairs.append(found[:, :number])
        return pairs

    strips = side_by_side(look, starts.tolist())
    pairs = [np.concatenate(found, axis=1) for found in zip(*strips, strict=True)]
    return [(radiance, variance) for radiance, variance in pairs]


def _fit(rows: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float, float]:
    """(read, gain, curve) of least relative error, by trying each set of non-negative terms.

    What misalignment leaves of texture grows with the square of radiance like the curve's term,
    which is therefore held to at most ``_STEEPEST`` times the gain.
    """
    terms_of = np.column_stack([rows[:, 0], rows[:, 1], rows[:, 1] + _STEEPEST * rows[:, 2]])
    a = terms_of / rows[:, 3:] * counts[:, None]
    best, best_error = np.zeros(3), np.inf
    for size in (1, 2, 3):
        for terms in combinations(range(3), size):
            solution = np.linalg.lstsq(a[:, terms], counts, rcond=None)[0]
            if np.any(solution < 0):
                continue
            error = float(np.sum((a[:, terms] @ solution - counts) ** 2))
            if error < best_error:
                best, best_error = np.zeros(3), error
                best[list(terms)] = solution
    return float(best[0]), float(best[1] + best[2]), float(_STEEPEST * best[2])


def _dark_step(stack: ExposureStack) -> float:
    """Linear value of one code near black."""
    frame = stack.frames[stack.reference]
    if frame.pixels.dtype == np.float32:
        return 0.0
    step = 1.0 / (frame.white - frame.black)
    if frame.encoding == "linear":
        return step
    curve = stack.response.curve.mean(axis=1)
    return float(np.interp(8 * step, np.linspace(0, 1, len(curve)), curve)) / 8
