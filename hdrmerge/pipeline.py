"""The whole merge on one screen: frames in, radiance and a report out; opens and prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from hdrmerge.align import align
from hdrmerge.align_notes import AlignmentNote, without_lost
from hdrmerge.calibrate import Calibration, calibrate
from hdrmerge.config import MergeConfig
from hdrmerge.deghost import Method, choose_method, decide, refine
from hdrmerge.describe import describe_stack
from hdrmerge.exposure import initial_stack
from hdrmerge.frames import CaptureSettings, FloatArray, Frame, RadianceMap
from hdrmerge.report import MergeReport
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class MergeResult:
    """``radiance``; ``report``; ``ghost_map`` (N, h, w) in [0, 1], 1 = trusted, in the order of
    ``report.frames`` (None without deghosting); ``settings`` of the reference frame;
    ``response`` that the frames were linearised with; ``attention`` (H, W) in [0, 1]: what a
    published network attends to in the ``short`` and in the ``long`` frame, where asked for."""

    radiance: RadianceMap
    report: MergeReport
    ghost_map: FloatArray | None
    settings: CaptureSettings
    response: Response
    attention: dict[str, FloatArray] = field(default_factory=dict)


def merge_stack(
    frames: Sequence[Frame],
    config: MergeConfig,
    *,
    half: bool = False,
    progress: Progress | None = None,
) -> MergeResult:
    """Merge a bracket of two or more frames, given in any order.

    ``half``: keep the radiance in half floats, as an EXR does by default.

    Raises StackError for frames that make no bracket, WeightsError for unusable weights.
    """
    from hdrmerge.fusion.noise import estimate_noise
    from hdrmerge.fusion.radiometric import fuse

    clock = Clock(progress)
    tell = clock.tell
    method = choose_method(config)
    config = _for_method(config, method)
    stack, calibration, alignment = prepare_stack(frames, config, clock)
    with clock.stage("noise"):
        noise = estimate_noise(stack)
    report = describe_stack(stack, calibration, alignment, method)
    attention: dict[str, FloatArray] = {}
    with clock.stage("deghost"):
        decisions = decide(stack, noise, method, config, tell)
    with clock.stage("fuse"):
        if method.kind == "reconstruct":
            from hdrmerge.fusion.learned import attention_maps, reconstruct
            from hdrmerge.fusion.triple import choose_three

            triple = choose_three(stack, method.weights)
            report.warnings += triple.warnings
            if config.attention:
                attention = attention_maps(stack, config, weights=method.weights, triple=triple)
            radiance = reconstruct(
                stack, config, weights=method.weights, triple=triple, progress=tell
            )
        else:
            fused = fuse(stack, decisions, noise, half=half, progress=tell)
            radiance = fused.radiance
            report.clipped_everywhere, report.filled = fused.clipped_everywhere, fused.filled
    if method.refiner is not None and decisions is not None:
        with clock.stage("refine"):
            report.refined = refine(
                radiance.stored, decisions, stack, noise, method.refiner, config, tell
            )

    report.seconds = clock.seconds
    if decisions is not None:
        for row, trust in zip(report.frames, decisions.trust, strict=True):
            row.rejected = float(np.mean(trust < 0.5))
    return MergeResult(
        radiance=radiance,
        report=report,
        ghost_map=None if decisions is None else decisions.trust,
        settings=stack.frames[stack.reference].settings,
        response=stack.response,
        attention=attention,
    )


def plan_stack(frames: Sequence[Frame], config: MergeConfig) -> MergeReport:
    """What a merge of these frames would do, without doing it."""
    method = choose_method(config)
    return describe_stack(*prepare_stack(frames, _for_method(config, method)), method)


def _for_method(config: MergeConfig, method: Method) -> MergeConfig:
    """The published networks know a reference between the other two alone."""
    return replace(config, between=True) if method.kind == "reconstruct" else config


def prepare_stack(
    frames: Sequence[Frame], config: MergeConfig, clock: Clock | None = None
) -> tuple[ExposureStack, Calibration, tuple[AlignmentNote, ...]]:
    """Order, align and calibrate: everything that is known before radiance is computed."""
    clock = clock or Clock()
    notes = tuple(AlignmentNote("none", "not asked for") for _ in frames)
    lost: tuple[str, ...] = ()
    with clock.stage("align"):
        stack, _ = initial_stack(frames, config)
        if config.align:
            homographies, notes = align(stack)
            stack = stack.with_homographies(homographies)
            if not config.between:  # networks of three frames need them all
                stack, notes, lost = without_lost(stack, notes)
    with clock.stage("calibrate"):
        calibration = calibrate(stack, config)
    calibration = replace(calibration, warnings=lost + calibration.warnings)
    return calibration.stack, calibration, notes


class Clock:
    """Seconds spent in each stage, told to the progress display as it goes."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.tell = progress or (lambda stage, fraction: None)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.tell(name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
        self.tell(name, 1.0)
