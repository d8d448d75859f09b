"""Exposures of a bracket before anything is aligned: order, rough ratios, the initial stack.

Relative exposure is t * S / N^2; differences of its log2 are stops. What EXIF says is compared
with the brightness of the pixels, and where it is missing or contradicts them, the ratios are
measured from the frames' brightness distributions, which neither motion nor hand shake disturbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hdrmerge.config import MergeConfig
from hdrmerge.errors import StackError, UsageError
from hdrmerge.frames import Frame
from hdrmerge.reference import choose_reference
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack

ESTIMATED = ("auto", "estimate", "debevec")  # responses that the pixels have a say in
THUMBNAIL_PIXELS = 100_000
QUANTILES = np.linspace(0.01, 0.99, 99)


def initial_stack(
    frames: Sequence[Frame], config: MergeConfig
) -> tuple[ExposureStack, tuple[int, ...]]:
    """The bracket in ascending order of exposure, unaligned, with provisional exposures.

    Exposures come from ``config.ev`` or ``config.times``, else from EXIF where it is complete and
    agrees with the order of brightness, else from the pixels. Returns the stack and, for each of
    its frames, the index in ``frames``; neither depends on the order of the files. Raises
    StackError when the frames make no bracket, UsageError when an option does not fit them.
    """
    n = len(frames)
    if n < 2:
        raise StackError(
            "A bracket needs at least two frames.", "Give all frames of the bracket at once."
        )
    check_same_size(frames)
    response = initial_response(frames, config)
    small = [f.averaged(THUMBNAIL_PIXELS) for f in frames]
    exposures = given_exposures(frames, config)
    if exposures is None:
        exposures = trusted_exif(small, response)
    if exposures is None:
        exposures = exposures_from_brightness(small, response)
    brightness = [float(response.linearise(f, f.pixels).mean()) for f in small]
    order = sorted(range(n), key=lambda k: (exposures[k], brightness[k], frames[k].path.name))
    ordered = tuple(frames[k] for k in order)
    relative = exposures[order]
    if config.reference is not None:
        if not 0 <= config.reference < n:
            raise UsageError(
                f"There is no frame {config.reference} to be the reference.",
                f"The bracket has {n} frames, counted from 0.",
            )
        reference = order.index(config.reference)
    else:
        reference = choose_reference(
            [small[k] for k in order], relative, response, between=config.between
        )
    relative = relative / relative[reference]
    homographies = np.repeat(np.eye(3)[None], n, axis=0)
    return ExposureStack(ordered, relative, response, reference, homographies), tuple(order)


def check_same_size(frames: Sequence[Frame]) -> None:
    """Raises StackError naming the frame whose size differs from most."""
    shapes = [f.shape for f in frames]
    usual = max(sorted(set(shapes)), key=shapes.count)
    for frame in frames:
        if frame.shape != usual:
            h, w = frame.shape
            others = "the other frames are" if len(frames) > 2 else "the other one is"
            raise StackError(
                f"{frame.path.name} is {w} x {h}, {others} {usual[1]} x {usual[0]}.",
                "The frames of a bracket must have one size and orientation.",
            )


def initial_response(frames: Sequence[Frame], config: MergeConfig) -> Response:
    """The response asked for by name, else the files' own until the pixels say otherwise."""
    if config.response in ESTIMATED:
        return profile_response(frames)
    return Response.named(config.response)


def profile_response(frames: Sequence[Frame]) -> Response:
    """The transfer function that the colour profiles of all ``frames`` promise, else sRGB."""
    promised = {f.transfer for f in frames}
    return Response.named(promised.pop()) if len(promised) == 1 else Response.srgb()


def given_exposures(frames: Sequence[Frame], config: MergeConfig) -> NDArray[np.float64] | None:
    """Relative exposures from ``--ev`` or ``--times`` in the files' order, or None.

    Times keep the ISO and the aperture that EXIF knows. Raises UsageError when they do not fit.
    """
    for name, values in (("ev", config.ev), ("times", config.times)):
        if values is None:
            continue
        if len(values) != len(frames):
            raise UsageError(
                f"--{name} gives {len(values)} values for {len(frames)} frames.",
                "Give one value for each frame, in the order of the files.",
            )
        if not np.isfinite(values).all() or (name == "times" and min(values) <= 0):
            raise UsageError(f"--{name} holds a value that is no exposure: {values}.")
    if config.ev is not None:
        return np.exp2(np.asarray(config.ev, dtype=np.float64))
    if config.times is not None:
        timed = [
            replace(f.settings, exposure_time=t) for f, t in zip(frames, config.times, strict=True)
        ]
        return np.array([s.relative_exposure for s in timed], dtype=np.float64)
    return None


def exif_exposures(frames: Sequence[Frame]) -> list[float | None]:
    """t * S / N^2 of each frame, None where EXIF gives no time.

    An ISO or aperture that only some frames state is ignored for all: half a truth would look
    like a step of exposure.
    """
    iso = all(f.settings.iso for f in frames)
    f_number = all(f.settings.f_number for f in frames)
    known = [
        replace(
            f.settings,
            iso=f.settings.iso if iso else None,
            f_number=f.settings.f_number if f_number else None,
        )
        for f in frames
    ]
    return [s.relative_exposure for s in known]


def trusted_exif(frames: Sequence[Frame], response: Response) -> NDArray[np.float64] | None:
    """EXIF's exposures where complete and not contradicted by the pixels, else None.

    Small ``frames`` suffice.
    """
    exif = exif_exposures(frames)
    if any(e is None for e in exif):
        return None
    exposures = np.array(exif, dtype=np.float64)
    stops = np.log2(exposures)
    measured = np.log2(exposures_from_brightness(frames, response))
    off = np.abs((stops - stops.mean()) - (measured - measured.mean()))
    # A camera's tone curve stretches steps by up to 1.6; only what it cannot explain counts.
    contradicts = off.max() > 1.0 + 0.6 * (stops.max() - stops.min())
    same_time_different_light = stops.max() - stops.min() < 0.1 and np.ptp(measured) > 0.35
    order = np.argsort(stops, kind="stable")
    falls = np.diff(measured[order]) < -0.3
    disorder = bool(np.any(falls & (np.diff(stops[order]) > 0.1)))
    if contradicts or same_time_different_light or disorder:
        return None
    return exposures


def exposures_from_brightness(frames: Sequence[Frame], response: Response) -> NDArray[np.float64]:
    """Relative exposures (N,) from the distributions of linear values of ``frames``, small ones.

    Quantiles of the green channel, frame against the next brighter one: the median ratio of those
    that are neither clipped nor near black in both. The darkest frame gets 1.
    """
    quantiles = np.stack([response.quantiles(f, QUANTILES)[:, 1] for f in frames])
    means = [float(response.linearise(f, f.pixels)[..., 1].mean()) for f in frames]
    order = np.argsort(means, kind="stable")
    stops = np.zeros(len(frames))
    for dark, bright in pairwise(order):
        step = quantile_stops(quantiles[dark], quantiles[bright])
        stops[bright] = stops[dark] + step
    return np.asarray(np.exp2(stops), dtype=np.float64)


def quantile_stops(dark: NDArray[np.float64], bright: NDArray[np.float64]) -> float:
    """Stops between two frames from their quantiles (Q,) of linear values."""
    usable = (dark > 0.002) & (bright > 0.002) & (dark < 0.9) & (bright < 0.9)
    if usable.sum() < 5:
        usable = (dark > 1e-4) & (bright < 0.98)
    if not usable.any():
        return 0.0
    return max(0.0, float(np.median(np.log2(bright[usable] / dark[usable]))))
