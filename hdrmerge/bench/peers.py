"""Other programs that make HDR images of the same photographs, where they are installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

# Align by median threshold bitmaps, estimate the response, merge, write: OpenCV's own way.
_OPENCV = """
import sys
import cv2, numpy
*files, output = sys.argv[1:]
times = numpy.array([2.0 ** stop for stop in {stops}], numpy.float32)
pictures = [cv2.imread(name) for name in files]
cv2.createAlignMTB().process(pictures, pictures)
response = cv2.createCalibrateDebevec().process(pictures, times)
cv2.imwrite(output, cv2.createMergeDebevec().process(pictures, times, response))
"""


def peer_commands(
    files: Sequence[Path], folder: Path, stops: Sequence[float]
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Name -> command and environment; ``stops``: the exposure of each of ``files``."""
    names = [str(path) for path in files]
    script = _OPENCV.format(stops=list(stops))
    found: dict[str, tuple[list[str], dict[str, str]]] = {
        "OpenCV, MTB + Debevec, .hdr": (
            [sys.executable, "-c", script, *names, str(folder / "opencv.hdr")],
            {},
        )
    }
    luminance = shutil.which("luminance-hdr-cli")
    if luminance and shutil.which("align_image_stack"):
        options = ["-a", "AIS", "-t", "0.4", "--hdrResponseCurve", "srgb"]
        found["Luminance HDR, aligned, anti-ghosting"] = (
            [luminance, *options, "-s", str(folder / "luminance.exr"), *names],
            {"QT_QPA_PLATFORM": "offscreen"},
        )
    return found
