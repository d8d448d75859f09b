"""The report of a prepared stack, before anything is merged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hdrmerge import __version__
from hdrmerge.align_notes import AlignmentNote
from hdrmerge.calibrate import Calibration
from hdrmerge.deghost import Method
from hdrmerge.frames import Frame
from hdrmerge.report import FrameReport, MergeReport
from hdrmerge.stack import ExposureStack


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
            measured_error=calibration.measured_error[k],
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
        model=method.weights.name if method.weights else None,
        weights_sha256=method.weights.sha256 if method.weights else None,
        exposure_offset=0.0 if exposure is None else -float(np.log2(exposure)),
        warnings=list(calibration.warnings),
    )


def _clipped_fraction(frame: Frame) -> float:
    """Fraction of pixels with a saturated channel, from every 16th pixel."""
    red, green, blue = (frame.pixels[::4, ::4, c] for c in range(3))
    brightest = np.maximum(np.maximum(red, green), blue)
    return float(np.mean(frame.fraction(brightest) >= 0.99))
