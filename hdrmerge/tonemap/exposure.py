"""Nothing but the display's own transfer function."""

from __future__ import annotations

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.scene import Curve, Statistics


def exposure(scene: Statistics) -> Curve:
    """Luminance as it is: 1 becomes the display's white, more is clipped."""

    def curve(luminance: FloatArray) -> FloatArray:
        return luminance

    return curve
