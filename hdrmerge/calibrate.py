"""Exposures and camera response of an aligned bracket: what is trusted, and why.

The pixels are asked under each hypothesis how far the frames' log-ratios stray from the exposure
steps. What strays by the same amount at all brightnesses is a wrong exposure, what strays with
brightness is a wrong response; the simplest hypothesis that explains the bracket wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from hdrmerge.comparison import GRID, Array, Pair, Trial, make_pairs
from hdrmerge.config import MergeConfig
from hdrmerge.exposure import ESTIMATED, exif_exposures, profile_response
from hdrmerge.frames import FloatArray
from hdrmerge.ratios import LN2, NO_OVERLAP, STEP_AGREES, Measured, measure, settle
from hdrmerge.response import Response
from hdrmerge.response_fit import Fit, fit_debevec, fit_response, srgb_inverse
from hdrmerge.samples import Blocks, sample_blocks
from hdrmerge.stack import ExposureStack

SHAPE_EXPLAINED = 0.03  # rms log-ratio deviation up to which a response explains a bracket
FIT_SETTLED = 0.01  # misfit below which no other steps are tried
TYPICAL_STRETCH = 0.77  # true steps over median ones under sRGB: 0.73 to 0.83 on five cameras
DUPLICATE = 0.05  # stops
UNLIKE = 0.4  # correlation of two equally exposed frames, below which they show two scenes


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A calibrated bracket.

    ``stack`` carries the final exposures and response. ``exif_stops`` and ``measured_stops``: one
    per frame, relative to the reference, None where unknown; ``measured_error``: one standard error
    of the latter, in stops. ``source`` says where the exposures come from, ``response_note`` why
    the response is what it is.
    """

    stack: ExposureStack
    exif_stops: tuple[float | None, ...]
    measured_stops: tuple[float | None, ...]
    measured_error: tuple[float | None, ...]
    source: str
    response_note: str
    warnings: tuple[str, ...]


def calibrate(stack: ExposureStack, config: MergeConfig) -> Calibration:
    """Measure the exposure ratios and choose the response of an aligned ``stack``.

    Exposures given by ``--ev`` or ``--times`` and a response given by name are obeyed.
    """
    start = np.log(stack.exposures) - np.log(stack.exposures[0])
    exif = _exif_log_exposure(stack)
    given = config.ev is not None or config.times is not None
    known = given or (exif is not None and np.allclose(start, exif - exif[0], atol=1e-6))
    source = "given" if given else "EXIF" if known else "brightness"
    linear = stack.frames[0].encoding == "linear"
    response = stack.response
    asked = config.response if config.response in ESTIMATED and not linear else None
    if asked:
        response = profile_response(stack.frames)
    blocks = sample_blocks(stack)
    curve = GRID if linear else tabulated(response)
    pairs = make_pairs(blocks, curve, start)
    trial = None if linear else Trial(curve)
    measured = measure(pairs, trial, start, anchored=known)

    note = f"{response.name}: " + ("linear data" if linear else "as asked for")
    warnings: list[str] = []
    exposure = start
    choice = _Choice(response, start, note, False, measured)
    if asked:
        choice = choose_response(blocks, pairs, response, start, measured, source, asked)
    measured = choice.measured
    if given:
        exposure = start
    elif measured.trouble:
        exposure = start
        if not known:
            warnings.append(f"The exposures are a rough guess: {measured.trouble}.")
    else:
        settled: Array | None = measured.log_exposure
        if known and not choice.free:
            settled = settle(measured, start)
        if settled is not None:
            exposure = np.maximum.accumulate(settled)
            if known:
                warnings.append(_contradicted(stack, exposure - start, measured))
            source = "measured"
    warnings += _duplicates(stack, exposure, blocks)
    exposures = stack.exposures
    if exposure is not start:
        exposures = np.exp(exposure - exposure[stack.reference])
    overlap, at = measured.trouble != NO_OVERLAP, stack.reference
    return Calibration(
        stack=replace(stack, exposures=exposures, response=choice.response),
        exif_stops=_exif_stops(stack),
        measured_stops=_stops(measured.log_exposure - measured.log_exposure[at], overlap),
        measured_error=_stops(measured.error(at), overlap),
        source=source,
        response_note=choice.note,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """A response, the log exposures it was found with, whether those were free, and why."""

    response: Response
    log_exposure: Array
    note: str
    free: bool
    measured: Measured


def choose_response(
    blocks: Blocks,
    pairs: Sequence[Pair],
    response: Response,
    start: Array,
    measured: Measured,
    source: str,
    asked: str,
) -> _Choice:
    """The profile's ``response`` where it explains the bracket, else an estimated one.

    ``source`` of the exposures ``start``: given, EXIF or brightness. ``asked``: ``auto``, or
    ``estimate`` or ``debevec`` to estimate in any case.
    """
    forced, known = asked != "auto", source != "brightness"
    explained = measured.shape <= SHAPE_EXPLAINED
    stretched = known and _stretched(np.diff(measured.log_exposure), np.diff(start))
    if (explained and not stretched and not forced) or measured.trouble == NO_OVERLAP:
        why = f"explains the bracket to {_percent(measured.shape)}"
        if measured.trouble:
            why = f"kept, {measured.trouble}"
        return _Choice(response, start, f"{response.name}: {why}", False, measured)
    if not known:
        start = typical_log_exposure(blocks)
    if asked == "debevec":
        fixed, free = fit_debevec(pairs, start), None
    else:
        fixed = fit_response(pairs, start) if known else None
        settled = source == "given" or (fixed is not None and _misfit(fixed) < FIT_SETTLED)
        free = None if settled else fit_response(pairs, start, free=True)
    if free is not None and fixed is not None:
        allowed = np.maximum(STEP_AGREES, 3 * measured.error(0))
        moved = np.any(np.abs(free.log_exposure - fixed.log_exposure) > allowed)
        free = free if moved and _misfit(free) < 0.7 * _misfit(fixed) - 0.003 else None
    fit = free or fixed
    if fit is None:
        note = f"{response.name}: kept, no response could be estimated"
        return _Choice(response, start, note, False, measured)
    final = measure(pairs, Trial(fit.curve), fit.log_exposure, anchored=True)
    better = final.shape < 0.7 * measured.shape or stretched
    if not (better or forced):
        note = f"{response.name}: kept, an estimate explains the bracket no better"
        return _Choice(response, start, note, False, measured)
    name = "estimated (Debevec & Malik 1997)" if asked == "debevec" else "estimated"
    estimated = Response.shared(name, fit.curve)
    note = (
        f"estimated: {response.name} strays by {_percent(measured.shape)} with brightness, "
        f"the estimate by {_percent(final.shape)}"
    )
    return _Choice(estimated, fit.log_exposure, note, free is not None, final)


def typical_log_exposure(blocks: Blocks) -> Array:
    """A guess (N,) at log exposures behind an S-shaped response: EXIF is missing, and a response
    with its exponent changed explains the same pixels with other steps.

    Median log-ratio of mid-tones under sRGB, shortened by what camera JPEGs stretch it.
    """
    steps = []
    for darker, brighter in pairwise(blocks.mean):
        usable = (darker > 0.15) & (brighter < 0.85) & (brighter > darker)
        if usable.sum() < 50:
            usable = (darker > 0.03) & (brighter < 0.98) & (brighter > darker)
        ratio = srgb_inverse(brighter[usable]) / srgb_inverse(darker[usable])
        steps.append(float(np.median(np.log(ratio))) if usable.any() else 0.0)
    return np.concatenate([[0.0], TYPICAL_STRETCH * np.cumsum(steps)])


def tabulated(response: Response) -> Array:
    """The inverse response at ``GRID``: the mean of its channels, strictly rising."""
    codes = np.linspace(0, 1, len(response.curve))
    curve = np.interp(GRID, codes, response.curve.mean(axis=1, dtype=np.float64))
    return np.asarray(curve + 1e-9 * GRID)


def _misfit(fit: Fit) -> float:
    """Rms deviation beyond noise that is left under a fit, its steps included."""
    excess = np.concatenate([f.deviation**2 - f.variance for f in fit.levels])
    return float(np.sqrt(max(0.0, float(np.mean(excess)))))


def _percent(deviation: float) -> str:
    return f"{100 * deviation:.1f} %" if deviation > 0.005 else "under 0.5 %"


def _stretched(measured: Array, expected: Array) -> bool:
    """Whether the steps are longer than expected by one factor, as a contrasty response makes
    them; wrong exposures differ from frame to frame, or are shorter (an auto-ISO unrecorded)."""
    ratio = measured / np.maximum(expected, 0.1)
    far = np.max(np.abs(measured - expected)) > 0.4 * LN2
    return bool(far and ratio.min() > 1.1 and ratio.max() < min(1.8, 1.25 * ratio.min()))


def _exif_log_exposure(stack: ExposureStack) -> Array | None:
    exif = exif_exposures(stack.frames)
    known = [e for e in exif if e is not None]
    return np.log(np.array(known)) if len(known) == len(exif) else None


def _exif_stops(stack: ExposureStack) -> tuple[float | None, ...]:
    exif = exif_exposures(stack.frames)
    base = exif[stack.reference]
    return tuple(None if e is None or base is None else float(np.log2(e / base)) for e in exif)


def _stops(log_exposure: Array, known: bool) -> tuple[float | None, ...]:
    return tuple(float(s) if known else None for s in log_exposure / LN2)


def _contradicted(stack: ExposureStack, off: Array, measured: Measured) -> str:
    """The warning about the frame whose EXIF is ``off`` (N,) the most, as most frames have it."""
    off = off - np.median(off)
    worst = int(np.argmax(np.abs(off)))
    others = int(np.argmin(np.abs(off)))
    error = measured.error(others)[worst] / LN2
    return (
        f"EXIF is off by {abs(off[worst]) / LN2:.2f} ± {max(error, 0.01):.2f} stops at "
        f"{stack.frames[worst].path.name}; the exposures were measured."
    )


def _duplicates(stack: ExposureStack, log_exposure: Array, blocks: Blocks) -> list[str]:
    same = np.flatnonzero(np.diff(log_exposure) / LN2 < DUPLICATE)
    found, names = [], [frame.path.name for frame in stack.frames]
    for k in same:
        if _correlation(blocks.mean[k, :, 1], blocks.mean[k + 1, :, 1]) < UNLIKE:
            found.append(
                f"{names[k]} and {names[k + 1]} are equally exposed and do not show the same: are "
                "these two brackets?"
            )
        else:
            found.append(f"Duplicate exposures: {names[k]} and {names[k + 1]} are equally exposed.")
    return found


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Of codes (B,) that are neither black nor white in both; 1 where there are few."""
    usable = (np.minimum(a, b) > 0.03) & (np.maximum(a, b) < 0.97)
    if usable.sum() < 200 or min(np.ptp(a[usable]), np.ptp(b[usable])) < 0.05:
        return 1.0
    return float(np.corrcoef(a[usable], b[usable])[0, 1])
