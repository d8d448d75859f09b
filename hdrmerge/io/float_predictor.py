"""The floating-point predictor of TIFF (Adobe Technical Note 3), which darktable and others use."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdrmerge.frames import Codes


def has_float_predictor(page: Any) -> bool:
    """Whether a tifffile page is of strips under this predictor."""
    return int(page.predictor) == 3 and not page.is_tiled


def read_predicted(page: Any) -> Codes:
    """Samples of such a page; tifffile has the predictor only with the package imagecodecs.

    Of every row, the bytes are sorted by significance, the highest first, and each is stored as
    the difference to the one a pixel before.
    """
    page.predictor = 1
    stored = page.asarray(maxworkers=1)
    step = 1 if int(page.planarconfig) == 2 else int(page.samplesperpixel)
    order, size = page.parent.byteorder, stored.dtype.itemsize
    rows = stored.astype(stored.dtype.newbyteorder(order)).view(np.uint8)
    rows = rows.reshape(-1, int(page.imagewidth) * size, step)
    planes = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(len(rows), size, -1)
    values = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(f">f{size}")
    return np.asarray(values.reshape(stored.shape).astype(stored.dtype))
