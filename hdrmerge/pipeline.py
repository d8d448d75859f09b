"""The whole merge on one screen: frames in, radiance and a report out; opens and prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hdrmerge import __version__
from hdrmerge.align import AlignmentNote, align
from hdrmerge.calibrate import Calibration, calibrate
from hdrmerge.config import MergeConfig
from hdrmerge.errors import UsageError
from hdrmerge.exposure import initial_stack
from hdrmerge.frames import (
    CaptureSettings,
    Decisions,
    ExposureStack,
    FloatArray,
    Frame,
    RadianceMap,
)
from hdrmerge.models.manifest import default_model, is_direct
from hdrmerge.models.resolve import ResolvedWeights, resolve_weights
from hdrmerge.report import FrameReport, MergeReport

if TYPE_CHECKING:
    from hdrmerge.fusion.noise import NoiseModel

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class MergeResult:
    """``radiance``; ``report``; ``ghost_map`` (N, h, w) in [0, 1], 1 = trusted, in the order of
    ``report.frames`` (None without deghosting); ``settings`` of the reference frame."""

    radiance: RadianceMap
    report: MergeReport
    ghost_map: FloatArray | None
    settings: CaptureSettings


def merge_stack(
    frames: Sequence[Frame], config: MergeConfig, *, progress: Progress | None = None
) -> MergeResult:
    """Merge a bracket of two or more frames, given in any order.

    Raises StackError for frames that make no bracket, WeightsError for unusable weights.
    """
    from hdrmerge.fusion.noise import estimate_noise
    from hdrmerge.fusion.radiometric import fuse

    tell = progress or (lambda stage, fraction: None)
    clock = _Clock(tell)
    method = choose_method(config)
    with clock.stage("calibrate"):
        stack, calibration, alignment = prepare_stack(frames, config)
        noise = estimate_noise(stack)
    report = describe_stack(stack, calibration, alignment, method)
    with clock.stage("deghost"):
        decisions = _decide(stack, noise, method.kind, config, tell)
    with clock.stage("fuse"):
        if method.kind == "reconstruct":
            from hdrmerge.fusion.learned import choose_three, reconstruct

            radiance = reconstruct(stack, config, progress=tell)
            report.warnings += choose_three(stack).warnings
        else:
            fused = fuse(stack, decisions, noise, progress=tell)
            radiance = fused.radiance
            report.clipped_everywhere, report.filled = fused.clipped_everywhere, fused.filled

    report.seconds = clock.seconds
    if decisions is not None:
        for row, trust in zip(report.frames, decisions.trust, strict=True):
            row.rejected = float(np.mean(trust < 0.5))
    return MergeResult(
        radiance=radiance,
        report=report,
        ghost_map=None if decisions is None else decisions.trust,
        settings=stack.frames[stack.reference].settings,
    )


def plan_stack(frames: Sequence[Frame], config: MergeConfig) -> MergeReport:
    """What a merge of these frames would do, without doing it."""
    method = choose_method(config)
    return describe_stack(*prepare_stack(frames, config), method)


def prepare_stack(
    frames: Sequence[Frame], config: MergeConfig
) -> tuple[ExposureStack, Calibration, tuple[AlignmentNote, ...]]:
    """Order, align and calibrate: everything that is known before radiance is computed."""
    stack, _ = initial_stack(frames, config)
    notes = tuple(AlignmentNote("none", "not asked for") for _ in frames)
    if config.align:
        homographies, notes = align(stack)
        stack = stack.with_homographies(homographies)
    calibration = calibrate(stack, config)
    return calibration.stack, calibration, notes


@dataclass(frozen=True, slots=True)
class Method:
    """How ghosts are dealt with. ``kind``: ``off``, ``classic``, ``network`` (it decides, the merge
    carries the radiance) or ``reconstruct`` (a published network that makes the radiance)."""

    kind: str
    weights: ResolvedWeights | None = None


def choose_method(config: MergeConfig) -> Method:
    """What ``config`` asks for, its weights found and checked before any work is done.

    Raises WeightsError for missing or damaged weights, UsageError for options that contradict.
    """
    asked = config.model is not None or config.weights is not None
    if config.deghost in ("classic", "off"):
        if asked:
            raise UsageError(
                f"--deghost {config.deghost} uses no network.", "Leave out --model and --weights."
            )
        return Method(config.deghost)
    if config.deghost == "auto" and not asked and default_model() is None:
        return Method("classic")
    weights = resolve_weights(config.weights, config.model)
    return Method("reconstruct" if is_direct(weights.model) else "network", weights)


def _decide(
    stack: ExposureStack, noise: NoiseModel, method: str, config: MergeConfig, tell: Progress
) -> Decisions | None:
    if method == "network":
        from hdrmerge.fusion import learned

        return learned.decide(stack, config, noise, progress=tell)
    if method == "classic":
        from hdrmerge.fusion import classic

        return classic.decide(stack.proxy(config.proxy_pixels), noise)
    return None


def describe_stack(
    stack: ExposureStack,
    calibration: Calibration,
    alignment: Sequence[AlignmentNote],
    method: Method,
) -> MergeReport:
    """The report of a prepared stack, as ``info`` shows it before anything is merged."""
    height, width = stack.shape
    reference = stack.frames[stack.reference]
    exposure = reference.settings.relative_exposure
    rows = [
        FrameReport(
            file=frame.path.name,
            exposure_time=frame.settings.exposure_time,
            f_number=frame.settings.f_number,
            iso=frame.settings.iso,
            exif_stops=calibration.exif_stops[k],
            measured_stops=calibration.measured_stops[k],
            used_stops=float(np.log2(stack.exposures[k])),
            alignment=alignment[k].kind,
            alignment_note=alignment[k].note,
            clipped=_clipped_fraction(frame),
        )
        for k, frame in enumerate(stack.frames)
    ]
    return MergeReport(
        version=__version__,
        width=width,
        height=height,
        frames=rows,
        reference=reference.path.name,
        response=stack.response.name,
        response_note=calibration.response_note,
        exposure_source=calibration.source,
        deghost=method.kind,
        model=method.weights and method.weights.name,
        weights_sha256=method.weights and method.weights.sha256,
        exposure_offset=0.0 if exposure is None else -float(np.log2(exposure)),
        warnings=list(calibration.warnings),
    )


def _clipped_fraction(frame: Frame) -> float:
    """Fraction of pixels with a saturated channel, from every 16th pixel."""
    sample = frame.fraction(frame.pixels[::4, ::4])
    return float(np.mean(sample.max(axis=2) >= 0.99))


class _Clock:
    """Seconds spent in each stage, told to the progress display as it goes."""

    def __init__(self, tell: Progress) -> None:
        self.tell = tell
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.tell(name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
        self.tell(name, 1.0)
