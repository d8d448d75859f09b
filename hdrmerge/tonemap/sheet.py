"""A contact sheet: one scene through every operator, to choose by eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hdrmerge.config import TonemapConfig
from hdrmerge.frames import Codes, FloatArray
from hdrmerge.tonemap.display import tonemap
from hdrmerge.tonemap.operators import OPERATORS

_CELL = (480, 360)  # largest width and height of a picture on the sheet
_LABEL, _GAP = 26, 6  # height of the label; white between cells


def contact_sheet(
    pixels: FloatArray,
    config: TonemapConfig,
    *,
    names: tuple[str, ...] = (),
    columns: int = 4,
    unit: float | None = None,
) -> Codes:
    """sRGB codes (H, W, 3) uint8 of the scene, reduced, through the operators ``names`` (all).

    Exposure, colour and saturation are those of ``config``, and parameters the operators'
    defaults. Each picture has its operator's name above it. ``unit``: as for ``tonemap``.
    """
    small = _reduce(pixels)
    cells = []
    for name in names or tuple(OPERATORS):
        picture = tonemap(small, replace(config, operator=name, parameters={}), unit=unit)
        cells.append(np.vstack([_label(name, picture.shape[1]), picture]))
    height, width = cells[0].shape[:2]
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    sheet = np.full(
        (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), 255, np.uint8
    )
    for index, cell in enumerate(cells):
        top = _GAP + index // columns * (height + _GAP)
        left = _GAP + index % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = cell
    return sheet


def _reduce(pixels: FloatArray) -> FloatArray:
    """Averages of areas, so that light is kept; what is no finite number does not spread."""
    import cv2

    height, width = pixels.shape[:2]
    scale = min(_CELL[0] / width, _CELL[1] / height, 1.0)
    finite = pixels[np.isfinite(pixels)]
    clean = np.nan_to_num(pixels, nan=0.0, posinf=float(finite.max(initial=0.0)), neginf=0.0)
    if scale == 1.0:
        return clean
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(clean, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _label(name: str, width: int) -> Codes:
    """White letters on dark grey, as large as fit."""
    import cv2

    bar = np.full((_LABEL, width, 3), 40, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    (wide, _), _ = cv2.getTextSize(name, font, 0.55, 1)
    size = 0.55 * min(1.0, (width - 12) / wide)
    if size > 0.1:
        cv2.putText(bar, name, (6, _LABEL - 9), font, size, (255, 255, 255), 1, cv2.LINE_AA)
    return bar
