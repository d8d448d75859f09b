"""ColorVideoVDP (Mantiuk et al., SIGGRAPH 2024) by its authors' package, an optional extra."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hdrmerge.errors import UsageError
from hdrmerge.frames import FloatArray

PEAK = 1000.0  # cd/m2 at H = 1
_DISPLAY = "standard_hdr_linear"  # absolute linear Rec.709 on a 4K HDR monitor at 0.75 m


@functools.cache
def _metric() -> Any:
    try:
        import pycvvdp
    except ImportError as error:
        raise UsageError(
            "ColorVideoVDP is not installed.", "Install it: pip install 'hdrmerge[vdp]'"
        ) from error
    return pycvvdp.cvvdp(display_name=_DISPLAY)


def require_vdp() -> None:
    """Raise UsageError unless the package is there, before anything is computed."""
    _metric()


def jod(h: FloatArray, truth: FloatArray) -> float:
    """Quality in just-objectionable differences, 10 = looks the same.

    ``h`` and ``truth`` (H, W, 3), 1 = the shortest frame's saturation, shown at 1000 cd/m2.
    """
    shown, reference = (np.clip(x, 0, 1) * np.float32(PEAK) for x in (h, truth))
    return float(_metric().predict(shown, reference, dim_order="HWC")[0])
