"""What a merge leaves behind: the HDR file, and a picture of what deghosting rejected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hdrmerge import io
from hdrmerge.frames import Codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from hdrmerge.pipeline import MergeResult


def write_radiance(
    path: Path,
    result: MergeResult,
    *,
    float32: bool = False,
    compression: str = "piz",
    ready: Callable[[], object] = lambda: None,
) -> None:
    """Write the HDR file, in the format that the suffix of ``path`` names; see ``io``.

    ``ready`` is called, and may raise, before the file takes its name."""
    if path.suffix.lower() == ".exr":
        io.write_exr(
            path,
            result.radiance,
            result.report,
            result.settings,
            float32=float32,
            compression=compression,
            ready=ready,
        )
    else:
        ready()
        io.write_hdr(path, result.radiance, result.report, result.settings)


def without_place(result: MergeResult) -> MergeResult:
    """The merge without where the photograph was taken."""
    return replace(result, settings=replace(result.settings, location=None))


def ghost_picture(result: MergeResult, height: int, width: int) -> Codes:
    """(height, width, 3) uint8, 255 = 1: mean trust in the frames other than the reference."""
    import cv2
    import numpy as np

    trust = result.ghost_map
    if trust is None:
        return np.full((height, width, 3), 255, np.uint8)
    others = [
        plane
        for plane, row in zip(trust, result.report.frames, strict=True)
        if row.file != result.report.reference
    ]
    mean = (np.clip(np.mean(others, axis=0), 0, 1) * 255 + 0.5).astype(np.uint8)
    large = cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.merge([large] * 3), np.uint8).reshape(height, width, 3)
