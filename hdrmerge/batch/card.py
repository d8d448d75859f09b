"""What the contact sheet shows of one bracket: small pictures as data URIs, and a curve."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from hdrmerge.config import TonemapConfig
from hdrmerge.frames import Codes, FloatArray, Frame, HalfArray, to_float, whole_average
from hdrmerge.report import MergeReport
from hdrmerge.response import Response

FRAME_HEIGHT, PICTURE_HEIGHT = 80, 160
CURVE_WIDTH, CURVE_HEIGHT, CURVE_STOPS = 96, 64, 10
_MOST_FRAMES = 15  # of a bracket that are shown
_WIDEST = 4  # times as wide as high: what a panorama is cut to
_QUALITY = 55
_BAND = 16  # rows of what is reduced that are made at once
_MAPPED = 4  # times as high as shown: radiance is tone-mapped at this size


def thumbnail(frame: Frame) -> Codes:
    """A frame as a camera would show it, ``FRAME_HEIGHT`` pixels high: (h, w, 3) uint8."""
    from hdrmerge.tonemap.transfer import srgb_encode

    fraction = frame.fraction(_shrink(frame.pixels, FRAME_HEIGHT))
    if frame.encoding == "linear":
        fraction = srgb_encode(np.clip(fraction * np.array(frame.white_balance, np.float32), 0, 1))
    return _codes(fraction)


def make_card(
    thumbs: dict[str, Codes],
    report: MergeReport,
    response: Response,
    pixels: FloatArray | HalfArray,
    ghosts: Codes | None,
    config: TonemapConfig,
    unit: float | None,
) -> dict[str, Any]:
    """The pictures of one bracket; ``thumbs`` by file name, in one strip in the report's order.
    ``unit``: as for ``tonemap``."""
    strip = [thumbs[row.file] for row in report.frames[:_MOST_FRAMES]]
    return {
        "frames": data_uri(np.concatenate(strip, axis=1)),
        "widths": [thumb.shape[1] for thumb in strip],
        "preview": shown_preview(pixels, config, unit),
        "ghosts": None if ghosts is None else data_uri(_shrink(ghosts, PICTURE_HEIGHT)),
        "curve": curve(response),
    }


def shown_preview(pixels: FloatArray | HalfArray, config: TonemapConfig, unit: float | None) -> str:
    """Radiance (H, W, 3) tone-mapped for the sheet, as a data URI; ``unit``: as for ``tonemap``.

    Not the preview itself, which may be for HDR screens, or not asked for.
    """
    from hdrmerge.tonemap import tonemap

    height = _MAPPED * PICTURE_HEIGHT
    codes = tonemap(_shrink(_fewer(pixels, height), height), config, unit=unit)
    return data_uri(_shrink(codes, PICTURE_HEIGHT))


def curve(response: Response) -> list[str]:
    """The response as SVG points, code over exposure in stops: one line, or one a channel."""
    stops = np.linspace(-CURVE_STOPS, 0, 21)
    codes = response.encode(np.exp2(stops).astype(np.float32)[:, None].repeat(3, axis=1))
    x = np.round((stops / CURVE_STOPS + 1) * CURVE_WIDTH).astype(int)
    y = np.round((1 - np.clip(codes, 0, 1)) * CURVE_HEIGHT).astype(int)
    lines = [" ".join(f"{a},{b}" for a, b in zip(x, y[:, c], strict=True)) for c in range(3)]
    return lines[:1] if len(set(lines)) == 1 else lines


def data_uri(codes: Codes) -> str:
    """A picture (H, W, 3) RGB uint8 as WebP in a data URI."""
    import cv2

    done, coded = cv2.imencode(
        ".webp", cv2.cvtColor(codes, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    )
    assert done
    return f"data:image/webp;base64,{base64.b64encode(coded.tobytes()).decode()}"


def _fewer(pixels: FloatArray | HalfArray, height: int) -> FloatArray:
    """float32 of at least ``height`` rows, averaged over squares; never all of a large picture."""
    whole = max(1, min(pixels.shape[0] // height, pixels.shape[1]))
    bands = range(0, pixels.shape[0] // whole * whole, _BAND * whole)
    parts = [whole_average(to_float(pixels[y : y + _BAND * whole]), whole) for y in bands]
    return np.concatenate(parts)


def _shrink(pixels: Codes, height: int) -> Codes:
    """``pixels`` at most ``height`` high; the middle of what is far wider than high."""
    import cv2

    rows, columns = pixels.shape[:2]
    if columns > _WIDEST * rows:
        left = (columns - _WIDEST * rows) // 2
        pixels = pixels[:, left : left + _WIDEST * rows]
    factor = min(1.0, height / rows)
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(rows * factor))
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA))


def _codes(fraction: FloatArray) -> Codes:
    return (np.clip(fraction, 0, 1) * 255 + 0.5).astype(np.uint8)
